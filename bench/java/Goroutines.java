import java.util.concurrent.ArrayBlockingQueue;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.SynchronousQueue;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.locks.LockSupport;

/** Cases of virtual threads alone. */
final class Goroutines {
    private Goroutines() {}

    /**
     * {@code count} threads share the yields. All are parked until the last is there, warm up, and meet at a starting line,
     * where the wait is itself made of yields. The yield in which a thread notices the start is its first, so that exactly
     * the planned number is timed.
     *
     * <p>One thread wakes them all. If each woke the next, as a latch has it, every worker would come to have a queue of
     * its own that never empties, and what is queued elsewhere would never arrive.
     */
    static void yields(int count, int operations) throws InterruptedException {
        Race race = new Race(count, Math.max(operations / count, 1));
        Thread[] runners = new Thread[count];
        for (int i = 0; i < count; i++) {
            runners[i] = Threads.start(race);
        }
        while (race.parked.get() < count) {
            Thread.sleep(1);
        }
        race.released = true;
        for (Thread runner : runners) {
            LockSupport.unpark(runner);
        }
        Measure.perOperation("yield", race.result.take(), count * race.each);
    }

    private static final class Race implements Threads.Body {
        final int count;
        final int each;
        final AtomicInteger parked = new AtomicInteger();
        volatile boolean released;
        final ArrayBlockingQueue<Long> result = new ArrayBlockingQueue<>(1);
        private final AtomicInteger arrived = new AtomicInteger();
        private final AtomicInteger finished = new AtomicInteger();
        private volatile boolean open;
        /** Written before {@code open}, read after it. */
        private long begun;

        Race(int count, int each) {
            this.count = count;
            this.each = each;
        }

        @Override
        public void act() throws InterruptedException {
            parked.incrementAndGet();
            while (!released) {
                LockSupport.park();
            }
            yieldTimes(Math.max(each / 10, 1));
            int left = each;
            if (arrived.incrementAndGet() == count) {
                begun = System.nanoTime();
                open = true;
            } else {
                do {
                    Thread.yield();
                } while (!open);
                left--;
            }
            yieldTimes(left);
            if (finished.incrementAndGet() == count) {
                result.put(System.nanoTime() - begun);
            }
        }

        private static void yieldTimes(int times) {
            for (int i = 0; i < times; i++) {
                Thread.yield();
            }
        }
    }

    /** {@code count} threads that end at once, from the first spawn to the last end. */
    static void spawn(int count) throws InterruptedException {
        spawnAndWait(Math.max(count / 10, 1));
        Measure.perOperation("spawn", spawnAndWait(count), count);
    }

    private static long spawnAndWait(int count) throws InterruptedException {
        CountDownLatch left = new CountDownLatch(count);
        Threads.Body body = left::countDown;
        long begun = System.nanoTime();
        for (int i = 0; i < count; i++) {
            Threads.start(body);
        }
        left.await();
        return System.nanoTime() - begun;
    }

    /**
     * {@code count} threads, each in a receive on one shared unbuffered queue; what each costs in memory, and the time to
     * send each a message and see all end.
     */
    static void park(int count) throws Exception {
        spawnAndWait(1000);
        long before = Measure.resident();
        AtomicInteger arrived = new AtomicInteger();
        SynchronousQueue<Integer> messages = new SynchronousQueue<>();
        CountDownLatch left = new CountDownLatch(count);
        Threads.Body stay = () -> {
            arrived.incrementAndGet();
            messages.take();
            left.countDown();
        };
        for (int i = 0; i < count; i++) {
            Threads.start(stay);
        }
        while (arrived.get() < count) {
            Thread.sleep(1);
        }
        // The last to arrive are yet to park.
        Thread.sleep(200);
        Measure.report("park", (double) (Measure.resident() - before) / count, "bytes");

        long begun = System.nanoTime();
        for (int i = 0; i < count; i++) {
            messages.put(i);
        }
        left.await();
        Measure.perOperation("wake", System.nanoTime() - begun, count);
    }

    /** One thread says hello, and the one that started it waits for that. */
    static void hello() throws InterruptedException {
        Threads.start(() -> System.out.println("hello")).join();
    }
}
