import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ArrayBlockingQueue;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.SynchronousQueue;
import java.util.function.Supplier;

/** Cases of channels. A bounded queue is one, and a synchronous queue is an unbuffered one; there is no select. */
final class Channels {
    private Channels() {}

    /** Two threads, two unbuffered queues, so many round trips. */
    static void pingPong(int operations) throws Exception {
        Measure.warmed("pingpong", operations, trips -> {
            BlockingQueue<Integer> ping = new SynchronousQueue<>();
            BlockingQueue<Integer> pong = new SynchronousQueue<>();
            CountDownLatch done = new CountDownLatch(1);
            Threads.start(() -> {
                for (int i = 0; i < trips; i++) {
                    pong.put(ping.take());
                }
            });
            Threads.start(() -> {
                for (int i = 0; i < trips; i++) {
                    ping.put(i);
                    Measure.expect(pong.take(), i);
                }
                done.countDown();
            });
            done.await();
        });
    }

    /** One sender, one receiver, a queue of 128. */
    static void oneToOne128(int operations) throws Exception {
        oneToOne("chan128", operations, () -> new ArrayBlockingQueue<>(128));
    }

    /** One sender, one receiver, an unbuffered queue. */
    static void oneToOne0(int operations) throws Exception {
        oneToOne("chan0", operations, SynchronousQueue::new);
    }

    private static void oneToOne(String name, int operations, Supplier<BlockingQueue<Integer>> queue)
            throws Exception {
        Measure.warmed(name, operations, count -> {
            BlockingQueue<Integer> messages = queue.get();
            CountDownLatch done = new CountDownLatch(1);
            Threads.start(() -> {
                for (int i = 0; i < count; i++) {
                    messages.put(i);
                }
            });
            Threads.start(() -> {
                for (int i = 0; i < count; i++) {
                    Measure.expect(messages.take(), i);
                }
                done.countDown();
            });
            done.await();
        });
    }

    /** Four senders and four receivers on one queue of 128. */
    static void fourToFour(int operations) throws Exception {
        Measure.warmed("fourfour128", operations / 4 * 4, count -> {
            int each = count / 4;
            BlockingQueue<Integer> messages = new ArrayBlockingQueue<>(128);
            BlockingQueue<Long> sums = new ArrayBlockingQueue<>(4);
            for (int pair = 0; pair < 4; pair++) {
                Threads.start(() -> {
                    for (int i = 0; i < each; i++) {
                        messages.put(i);
                    }
                });
                Threads.start(() -> {
                    long sum = 0;
                    for (int i = 0; i < each; i++) {
                        sum += messages.take();
                    }
                    sums.put(sum);
                });
            }
            Measure.expect(sums.take() + sums.take() + sums.take() + sums.take(), 4 * Measure.sumBelow(each));
        });
    }

    /**
     * {@code size} threads in a ring of unbuffered queues pass one token on for about so many hops, in whole rounds. The
     * token counts them.
     */
    static void ring(int size, int hops) throws Exception {
        int planned = Math.max(hops / size, 1);
        Measure.warmed("ring", planned * size, count -> {
            int rounds = Math.max(count / size, 1);
            List<BlockingQueue<Integer>> links = new ArrayList<>();
            for (int i = 0; i < size; i++) {
                links.add(new SynchronousQueue<>());
            }
            CountDownLatch done = new CountDownLatch(size);
            for (int i = 0; i < size; i++) {
                int member = i;
                BlockingQueue<Integer> from = links.get(i);
                BlockingQueue<Integer> to = links.get((i + 1) % size);
                Threads.start(() -> {
                    for (int round = 0; round < rounds; round++) {
                        int token = from.take();
                        Measure.expect(token, round * size + member);
                        // The last hop of all has nothing left to receive it.
                        if (token + 1 < rounds * size) {
                            to.put(token + 1);
                        }
                    }
                    done.countDown();
                });
            }
            links.get(0).put(0);
            done.await();
        });
    }
}
