package shop;

import java.util.concurrent.ExecutorService;

/**
 * Threads of the pool wait for a service that takes the connection and does not answer: all of them once there are
 * more orders than threads. Arguments: the service's port, and the number of orders.
 */
public final class SlowDownstream {
    public static void main(String[] arguments) throws Exception {
        PaymentClient payments = new PaymentClient(arguments[0]);
        ExecutorService orders = Pool.of("orders-worker", 8);
        for (int idle = 0; idle < 8; idle++) {
            orders.submit(() -> null).get();
        }
        for (int order = 0; order < Integer.parseInt(arguments[1]); order++) {
            orders.submit(payments::charge);
        }
        System.out.println("ready");
    }
}
