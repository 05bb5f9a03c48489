package shop;

import java.util.ArrayList;
import java.util.List;

/**
 * Keeps every order that it has ever seen, up to a share of the heap; then it goes on with orders that it forgets soon.
 * Arguments: percent, and the milliseconds between two lots of orders.
 */
public final class Hoard {
    private static final class Order {
        private final long id;
        private final long[] totals = new long[4];

        Order(long id) {
            this.id = id;
            totals[0] = id;
        }
    }

    private static final List<Order> ORDERS = new ArrayList<>();
    private static final Order[] RECENT = new Order[1000];

    public static void main(String[] arguments) throws InterruptedException {
        Runtime heap = Runtime.getRuntime();
        long enough = heap.maxMemory() / 100 * Integer.parseInt(arguments[0]);
        long id = 0;
        while (heap.totalMemory() - heap.freeMemory() < enough) {
            for (int each = 0; each < 1000; each++) {
                ORDERS.add(new Order(id++));
            }
        }
        System.out.println("ready");
        while (true) {
            for (int each = 0; each < 20_000; each++) {
                RECENT[each % RECENT.length] = new Order(id++);
            }
            Thread.sleep(Long.parseLong(arguments[1]));
        }
    }
}
