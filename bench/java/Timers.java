import java.util.Arrays;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.SynchronousQueue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;

/** Cases of threads that wait for a time. */
final class Timers {
    /**
     * 2^64 divided by the golden ratio: its multiples, cut to 64 bits, fill the range evenly and jump about in it.
     */
    static final long GOLDEN = 0x9E37_79B9_7F4A_7C15L;

    private static final long MILLISECOND = 1_000_000;

    private Timers() {}

    /** The deadline of that sleeper, somewhere in a window of less than two seconds, in nanoseconds. */
    static long scattered(int index, long window) {
        long part = (index + 1) * GOLDEN >>> 32;
        return part * window >>> 32;
    }

    /**
     * {@code count} threads, each asleep until a point of its own within the window; CPU time of the process for each,
     * from the first spawn to the last end.
     */
    static void sleepers(int count, long window) throws InterruptedException {
        sleepAll(Math.max(count / 10, 1), window / 10);
        long before = CLibrary.busy();
        sleepAll(count, window);
        Measure.perOperation("sleepers", CLibrary.busy() - before, count);
    }

    private static void sleepAll(int count, long window) throws InterruptedException {
        CountDownLatch left = new CountDownLatch(count);
        for (int i = 0; i < count; i++) {
            int index = i;
            Threads.start(() -> {
                long asked = scattered(index, window);
                long begun = System.nanoTime();
                Threads.sleep(asked);
                if (System.nanoTime() - begun < asked) {
                    Measure.fail("a sleeper woke early");
                }
                left.countDown();
            });
        }
        left.await();
    }

    /**
     * {@code count} threads, each in a wait that gives up after an hour; when all of them wait, what they wait for comes.
     * CPU time of the process for each, from the first spawn to the last end. They wait for a latch: a queue cannot be
     * closed.
     */
    static void cancelled(int count) throws InterruptedException {
        cancelAll(Math.max(count / 10, 1));
        long before = CLibrary.busy();
        cancelAll(count);
        Measure.perOperation("cancelled", CLibrary.busy() - before, count);
    }

    private static void cancelAll(int count) throws InterruptedException {
        AtomicInteger arrived = new AtomicInteger();
        CountDownLatch stop = new CountDownLatch(1);
        CountDownLatch left = new CountDownLatch(count);
        Threads.Body waiter = () -> {
            arrived.incrementAndGet();
            if (!stop.await(1, TimeUnit.HOURS)) {
                Measure.fail("a wait ended otherwise than by being cancelled");
            }
            left.countDown();
        };
        for (int i = 0; i < count; i++) {
            Threads.start(waiter);
        }
        while (arrived.get() < count) {
            Thread.sleep(1);
        }
        // The last to arrive are yet to park.
        Thread.sleep(200);
        stop.countDown();
        left.await();
    }

    /** Ping-pong in which each receive gives up after an hour. */
    static void timeouts(int operations) throws Exception {
        Measure.warmed("timeouts", operations, trips -> {
            BlockingQueue<Integer> ping = new SynchronousQueue<>();
            BlockingQueue<Integer> pong = new SynchronousQueue<>();
            CountDownLatch done = new CountDownLatch(1);
            Threads.start(() -> {
                for (int i = 0; i < trips; i++) {
                    pong.put(ping.poll(1, TimeUnit.HOURS));
                }
            });
            Threads.start(() -> {
                for (int i = 0; i < trips; i++) {
                    ping.put(i);
                    Measure.expect(pong.poll(1, TimeUnit.HOURS), i);
                }
                done.countDown();
            });
            done.await();
        });
    }

    /**
     * So many sleeps of a millisecond, one after the other, while nothing else runs, and how much longer each took.
     */
    static void lateness(int count) throws InterruptedException {
        long[] late = new long[count];
        for (int i = 0; i < count; i++) {
            long begun = System.nanoTime();
            Threads.sleep(MILLISECOND);
            late[i] = System.nanoTime() - begun - MILLISECOND;
            if (late[i] < 0) {
                Measure.fail("woke early");
            }
        }
        Arrays.sort(late);
        Measure.report("late-p50", late[(int) Math.round((count - 1) * 0.5)] / 1e3, "us");
        Measure.report("late-p99", late[(int) Math.round((count - 1) * 0.99)] / 1e3, "us");
    }
}
