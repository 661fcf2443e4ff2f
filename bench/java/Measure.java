import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Locale;

/** The protocol between the driver and this program, and what it reads of the process. */
final class Measure {
    /** A case, told how many operations to do. */
    interface Case {
        void run(int operations) throws Exception;
    }

    private Measure() {}

    /** Prints one figure in the form that the driver reads. */
    static void report(String name, double value, String unit) {
        System.out.println(String.format(Locale.ROOT, "%s %.3f %s", name, value, unit));
    }

    /** Prints the nanoseconds that each operation took. */
    static void perOperation(String name, long nanoseconds, int operations) {
        report(name, (double) nanoseconds / operations, "ns");
    }

    /** Runs the case with a tenth of the work first, and times the second run. */
    static void warmed(String name, int operations, Case run) throws Exception {
        run.run(Math.max(operations / 10, 1));
        long begun = System.nanoTime();
        run.run(operations);
        perOperation(name, System.nanoTime() - begun, operations);
    }

    /** Ends the program if a case has not done what it should have. */
    static void expect(long got, long wanted) {
        if (got != wanted) {
            fail("got " + got + " instead of " + wanted);
        }
    }

    /** Ends the program, unsuccessfully. It returns an error for the sake of the compiler, which wants one thrown. */
    static Error fail(String message) {
        System.err.println(message);
        Runtime.getRuntime().halt(2);
        return new AssertionError(message);
    }

    /** What the messages 0 to n-1 of one sender add up to. */
    static long sumBelow(long n) {
        return n * (n - 1) / 2;
    }

    /** The process's resident memory and its page tables, in bytes. */
    static long resident() throws IOException {
        long total = 0;
        for (String line : Files.readAllLines(Path.of("/proc/self/status"))) {
            if (line.startsWith("VmRSS:") || line.startsWith("VmPTE:")) {
                total += Long.parseLong(line.split("\\s+")[1]) << 10;
            }
        }
        return total;
    }
}
