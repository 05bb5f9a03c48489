package shop;

import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;

/** One thread holds the ledger while it waits for the network; everybody else wants the ledger. */
public final class HotLock {
    private static final class Ledger {}

    private static final Ledger LEDGER = new Ledger();

    public static void main(String[] arguments) throws Exception {
        PaymentClient payments = new PaymentClient(arguments[0]);
        CountDownLatch held = new CountDownLatch(1);
        new Thread(() -> settle(payments, held), "ledger-writer").start();
        held.await();
        ExecutorService http = Pool.of("http-exec", 12);
        for (int request = 0; request < 30; request++) {
            http.submit(HotLock::balance);
        }
        System.out.println("ready");
    }

    private static void settle(PaymentClient payments, CountDownLatch held) {
        synchronized (LEDGER) {
            held.countDown();
            try {
                payments.charge();
            } catch (java.io.IOException e) {
                System.out.println("downstream is gone");
            }
        }
    }

    private static int balance() {
        synchronized (LEDGER) {
            return 1;
        }
    }
}
