import java.util.concurrent.ArrayBlockingQueue;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.SynchronousQueue;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;

/** Cases of virtual threads alone. */
final class Goroutines {
    private Goroutines() {}

    /**
     * {@code count} threads share the yields. All wait behind a gate until the last is spawned, and warm up; the clock
     * starts with the first of them that is ready, and none waits for the others. A worker looks for threads that were
     * queued elsewhere only when its own queue is empty: those that waited by yielding would keep the rest from arriving.
     */
    static void yields(int count, int operations) throws InterruptedException {
        Race race = new Race(count, Math.max(operations / count, 1));
        Threads.Body runner = race::run;
        for (int i = 0; i < count; i++) {
            Threads.start(runner);
        }
        race.gate.countDown();
        Measure.perOperation("yield", race.result.take(), count * race.each);
    }

    private static final class Race {
        final CountDownLatch gate = new CountDownLatch(1);
        final ArrayBlockingQueue<Long> result = new ArrayBlockingQueue<>(1);
        final int count;
        final int each;
        private final AtomicReference<Long> begun = new AtomicReference<>();
        private final AtomicInteger finished = new AtomicInteger();

        Race(int count, int each) {
            this.count = count;
            this.each = each;
        }

        void run() throws InterruptedException {
            gate.await();
            yieldTimes(Math.max(each / 10, 1));
            begun.compareAndSet(null, System.nanoTime());
            yieldTimes(each);
            if (finished.incrementAndGet() == count) {
                result.put(System.nanoTime() - begun.get());
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
