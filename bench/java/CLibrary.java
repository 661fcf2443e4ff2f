import java.lang.invoke.MethodHandle;
import java.lang.reflect.Array;
import java.util.Optional;

/**
 * Two functions of the C library, found once, by {@code java.lang.foreign} of Java 22 or newer. On an older one the cases
 * that need them fail, and say so.
 */
final class CLibrary {
    /** {@code clock_t clock(void)}: CPU time of all threads of the process, in microseconds. */
    private static final MethodHandle CLOCK = function("clock", "JAVA_LONG");

    /** {@code int usleep(useconds_t)}. */
    private static final MethodHandle USLEEP = function("usleep", "JAVA_INT", "JAVA_INT");

    private CLibrary() {}

    /** CPU time of all threads of this process so far, in nanoseconds. */
    static long busy() {
        try {
            return (long) CLOCK.invokeExact() * 1_000;
        } catch (Throwable error) {
            throw Measure.fail(error.toString());
        }
    }

    /** Keeps the thread in the kernel for that many nanoseconds, as any call into a C library would. */
    static void block(long nanoseconds) {
        long until = System.nanoTime() + nanoseconds;
        try {
            for (long left = nanoseconds; left > 0; left = until - System.nanoTime()) {
                int result = (int) USLEEP.invokeExact((int) (left / 1_000) + 1);
            }
        } catch (Throwable error) {
            Measure.fail(error.toString());
        }
    }

    /** A function by its name, with the fields of {@code ValueLayout} that stand for its types. */
    private static MethodHandle function(String name, String result, String... parameters) {
        try {
            Class<?> linkers = foreign("Linker");
            Class<?> layouts = foreign("MemoryLayout");
            Class<?> descriptors = foreign("FunctionDescriptor");
            Object linker = linkers.getMethod("nativeLinker").invoke(null);
            Object lookup = linkers.getMethod("defaultLookup").invoke(linker);
            Optional<?> symbol =
                    (Optional<?>) foreign("SymbolLookup").getMethod("find", String.class).invoke(lookup, name);
            Object types = Array.newInstance(layouts, parameters.length);
            for (int i = 0; i < parameters.length; i++) {
                Array.set(types, i, layout(parameters[i]));
            }
            Object descriptor =
                    descriptors.getMethod("of", layouts, types.getClass()).invoke(null, layout(result), types);
            Object options = Array.newInstance(foreign("Linker$Option"), 0);
            return (MethodHandle)
                    linkers.getMethod("downcallHandle", foreign("MemorySegment"), descriptors, options.getClass())
                            .invoke(linker, symbol.orElseThrow(), descriptor, options);
        } catch (ReflectiveOperationException error) {
            throw Measure.fail("Java " + Runtime.version() + " cannot call the C library: 22 or newer can");
        }
    }

    private static Object layout(String name) throws ReflectiveOperationException {
        return foreign("ValueLayout").getField(name).get(null);
    }

    private static Class<?> foreign(String name) throws ClassNotFoundException {
        return Class.forName("java.lang.foreign." + name);
    }
}
