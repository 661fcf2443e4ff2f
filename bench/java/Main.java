/**
 * The Java peer: virtual threads, and what the class library has for threads. One program, one subcommand per case; the
 * sizes come from the driver, so that every peer does the same work.
 *
 * <p>It compiles with Java 17 or newer and runs on 21 or newer. What came later than 17 is looked up by name at the start.
 */
final class Main {
    private final String[] arguments;

    private Main(String[] arguments) {
        this.arguments = arguments;
    }

    /** The case runs on a virtual thread, too: the main thread would be one beside the workers. */
    public static void main(String[] arguments) throws InterruptedException {
        if (arguments.length == 0) {
            Measure.fail("usage: Main CASE [ARGUMENT]...");
        }
        Threads.start(new Main(arguments)::run).join();
    }

    private void run() throws Exception {
        switch (arguments[0]) {
            case "yield" -> Goroutines.yields(number(1), number(2));
            case "spawn" -> Goroutines.spawn(number(1));
            case "park" -> Goroutines.park(number(1));
            case "hello" -> Goroutines.hello();
            case "pingpong" -> Channels.pingPong(number(1));
            case "chan128" -> Channels.oneToOne128(number(1));
            case "chan0" -> Channels.oneToOne0(number(1));
            case "fourfour128" -> Channels.fourToFour(number(1));
            case "ring" -> Channels.ring(number(1), number(2));
            case "mutex" -> Locks.mutex(number(1), number(2));
            case "rwlock" -> Locks.rwlock(number(1), number(2));
            case "waitgroup" -> Locks.waitGroup(number(1), number(2));
            case "sleepers" -> Timers.sleepers(number(1), number(2) * 1_000_000L);
            case "cancelled" -> Timers.cancelled(number(1));
            case "timeouts" -> Timers.timeouts(number(1));
            case "lateness" -> Timers.lateness(number(1));
            case "echo" -> Servers.serve(argument(1), Servers::echo);
            case "http" -> Servers.serve(argument(1), Servers::http);
            case "disturbed" -> Disturbance.beside(argument(3), argument(1), number(2), false);
            case "pooled" -> Disturbance.beside(argument(3), argument(1), number(2), true);
            default -> Measure.fail("unknown case " + arguments[0]);
        }
    }

    private String argument(int index) {
        if (index >= arguments.length) {
            Measure.fail(arguments[0] + ": argument " + index + " is missing");
        }
        return arguments[index];
    }

    private int number(int index) {
        try {
            int number = Integer.parseInt(argument(index));
            if (number > 0) {
                return number;
            }
        } catch (NumberFormatException error) {
            // Said below.
        }
        throw Measure.fail(arguments[0] + ": argument " + index + " must be a positive number");
    }
}
