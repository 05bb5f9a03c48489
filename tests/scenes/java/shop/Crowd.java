package shop;

import java.util.concurrent.CountDownLatch;

/** Hundreds of threads with deep stacks around a deadlock, so that dumps are long. Argument: how many. */
public final class Crowd {
    public static void main(String[] arguments) throws Exception {
        int threads = Integer.parseInt(arguments[0]);
        CountDownLatch started = new CountDownLatch(threads);
        for (int each = 1; each <= threads; each++) {
            new Thread(null, () -> descend(120, started), "visitor-" + each, 512 * 1024).start();
        }
        started.await();
        Transfers.main(new String[0]);
    }

    private static void descend(int frames, CountDownLatch started) {
        if (frames > 0) {
            descend(frames - 1, started);
            return;
        }
        started.countDown();
        try {
            Thread.sleep(Long.MAX_VALUE);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }
}
