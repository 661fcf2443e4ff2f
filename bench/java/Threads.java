import java.util.concurrent.ThreadFactory;

/** Virtual threads. A thread is made by a factory, so that no call of a case goes through reflection. */
final class Threads {
    /** What a thread does; several may share one. Whatever it throws ends the program. */
    interface Body extends Runnable {
        void act() throws Exception;

        @Override
        default void run() {
            try {
                act();
            } catch (Throwable error) {
                Measure.fail(error.toString());
            }
        }
    }

    private static final ThreadFactory VIRTUAL = virtual();

    private Threads() {}

    /** Starts a virtual thread. */
    static Thread start(Body body) {
        Thread thread = VIRTUAL.newThread(body);
        thread.start();
        return thread;
    }

    /** Sleeps for that many nanoseconds at least. */
    static void sleep(long nanoseconds) throws InterruptedException {
        Thread.sleep(nanoseconds / 1_000_000, (int) (nanoseconds % 1_000_000));
    }

    /** {@code Thread.ofVirtual().factory()}. */
    private static ThreadFactory virtual() {
        try {
            Object builder = Thread.class.getMethod("ofVirtual").invoke(null);
            Class<?> type = Class.forName("java.lang.Thread$Builder");
            return (ThreadFactory) type.getMethod("factory").invoke(builder);
        } catch (ReflectiveOperationException error) {
            throw Measure.fail("Java " + Runtime.version() + " has no virtual threads: 21 or newer has");
        }
    }
}
