import java.util.concurrent.CountDownLatch;
import java.util.concurrent.locks.Lock;
import java.util.concurrent.locks.ReadWriteLock;
import java.util.concurrent.locks.ReentrantLock;
import java.util.concurrent.locks.ReentrantReadWriteLock;

/** Cases of locks that threads share, and of waiting for many of them. */
final class Locks {
    /** One operation in so many takes a read-write lock for writing. */
    private static final int WRITE_EVERY = 20;

    /** What the lock of a case protects. */
    private static final class Count {
        int value;
    }

    private Locks() {}

    /** {@code parties} threads share the increments under a lock. */
    static void mutex(int parties, int operations) throws Exception {
        Measure.warmed("mutex", operations / parties * parties, all -> {
            int each = all / parties;
            Lock lock = new ReentrantLock();
            Count count = new Count();
            contend(parties, () -> {
                for (int i = 0; i < each; i++) {
                    add(lock, count);
                }
            });
            Measure.expect(count.value, parties * each);
        });
    }

    /** {@code parties} threads share operations on a counter under a read-write lock: 95% read it, 5% count up. */
    static void rwlock(int parties, int operations) throws Exception {
        Measure.warmed("rwlock", operations / parties * parties, all -> {
            int each = all / parties;
            ReadWriteLock lock = new ReentrantReadWriteLock();
            Count count = new Count();
            contend(parties, () -> {
                int last = 0;
                for (int i = 0; i < each; i++) {
                    if (i % WRITE_EVERY == 0) {
                        add(lock.writeLock(), count);
                    } else {
                        int now = read(lock.readLock(), count);
                        if (now < last) {
                            Measure.fail("the count goes down");
                        }
                        last = now;
                    }
                }
            });
            Measure.expect(count.value, parties * ((each + WRITE_EVERY - 1) / WRITE_EVERY));
        });
    }

    private static void add(Lock lock, Count count) {
        lock.lock();
        try {
            count.value++;
        } finally {
            lock.unlock();
        }
    }

    private static int read(Lock lock, Count count) {
        lock.lock();
        try {
            return count.value;
        } finally {
            lock.unlock();
        }
    }

    /** Runs the parties, which begin when all are there. */
    private static void contend(int parties, Threads.Body party) throws InterruptedException {
        CountDownLatch ready = new CountDownLatch(parties);
        CountDownLatch start = new CountDownLatch(1);
        CountDownLatch done = new CountDownLatch(parties);
        for (int i = 0; i < parties; i++) {
            Threads.start(() -> {
                ready.countDown();
                start.await();
                party.act();
                done.countDown();
            });
        }
        ready.await();
        start.countDown();
        done.await();
    }

    /** Rounds of {@code size} threads that write down a number and end, and one that waits for all of them. */
    static void waitGroup(int size, int operations) throws Exception {
        int[] numbers = new int[size];
        Measure.warmed("waitgroup", operations / size * size, all -> {
            for (int round = 0; round < Math.max(all / size, 1); round++) {
                CountDownLatch group = new CountDownLatch(size);
                for (int i = 0; i < size; i++) {
                    int number = round + i;
                    int place = i;
                    Threads.start(() -> {
                        numbers[place] = number;
                        group.countDown();
                    });
                }
                group.await();
                long sum = 0;
                for (int number : numbers) {
                    sum += number;
                }
                Measure.expect(sum, (long) size * round + Measure.sumBelow(size));
            }
        });
    }
}
