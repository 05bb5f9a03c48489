package shop;

/** One report never ends: it turns in a loop on one core, beside a pool that has nothing to do. */
public final class BusyLoop {
    private static volatile long lines;

    public static void main(String[] arguments) throws Exception {
        Pool.of("orders-worker", 4).submit(() -> null).get();
        new Thread(BusyLoop::render, "report-7").start();
        System.out.println("ready");
    }

    private static void render() {
        while (true) {
            lines++;
        }
    }
}
