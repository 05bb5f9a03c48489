package shop;

import java.util.concurrent.CountDownLatch;

/** Two transfers take the same two accounts in opposite order, and wait for each other for ever. */
public final class Transfers {
    private static final Object ALICE = new Object();
    private static final Object BOB = new Object();

    public static void main(String[] arguments) throws InterruptedException {
        CountDownLatch bothHoldOne = new CountDownLatch(2);
        new Thread(() -> transfer(ALICE, BOB, bothHoldOne), "transfer-1").start();
        new Thread(() -> transfer(BOB, ALICE, bothHoldOne), "transfer-2").start();
        bothHoldOne.await();
        System.out.println("ready");
    }

    private static void transfer(Object from, Object to, CountDownLatch bothHoldOne) {
        synchronized (from) {
            bothHoldOne.countDown();
            try {
                bothHoldOne.await();
            } catch (InterruptedException e) {
                return;
            }
            synchronized (to) {
                System.out.println("done");
            }
        }
    }
}
