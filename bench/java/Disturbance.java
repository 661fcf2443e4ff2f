import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;

/** What threads do beside a server whose latency is measured. */
final class Disturbance {
    private static final long MILLISECOND = 1_000_000;

    /** Each thread's rests begin elsewhere in the sequence of all. */
    private static final int APART = 1_000_003;

    private Disturbance() {}

    /**
     * The echo server, and beside it as many threads as asked for that compute for 5 ms or block natively for 20 ms at a
     * time: right there, or on a pool of kernel threads. Between two times they sleep three times as long on average, but
     * never the same.
     */
    static void beside(String address, String kind, int count, boolean pooled) throws Exception {
        boolean computes = kind.equals("compute");
        if (!computes && !kind.equals("block") && !kind.equals("call")) {
            Measure.fail("no disturbance: " + kind);
        }
        long lasts = (computes ? 5 : 20) * MILLISECOND;
        Runnable once = () -> {
            if (computes) {
                compute(lasts);
            } else {
                CLibrary.block(lasts);
            }
        };
        ExecutorService pool = Executors.newCachedThreadPool();
        for (int i = 0; i < count; i++) {
            int first = i * APART;
            Threads.start(() -> {
                for (int n = 0; ; n++) {
                    Threads.sleep(Timers.scattered(first + n, 6 * lasts));
                    if (pooled) {
                        pool.submit(once).get();
                    } else {
                        once.run();
                    }
                }
            });
        }
        Servers.serve(address, Servers::echo);
    }

    /** Computes for that many nanoseconds, and looks at the clock now and then. */
    private static void compute(long length) {
        long begun = System.nanoTime();
        long word = 1;
        while (System.nanoTime() - begun < length) {
            for (int i = 0; i < 1_000; i++) {
                word = Long.rotateLeft(word * Timers.GOLDEN, 17);
            }
        }
        if (word == 0) {
            Measure.fail("an odd number times an odd number is not zero");
        }
    }
}
