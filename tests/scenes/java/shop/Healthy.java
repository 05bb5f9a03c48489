package shop;

import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.Executors;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;

/** A service under ordinary load: it answers itself, some fifty times a second, with a queue and its consumers behind. */
public final class Healthy {
    private static final BlockingQueue<Integer> SHIPPED = new LinkedBlockingQueue<>();

    public static void main(String[] arguments) throws Exception {
        HttpServer server = HttpServer.create(new InetSocketAddress("127.0.0.1", 0), 0);
        server.createContext("/charge", exchange -> {
            exchange.sendResponseHeaders(200, 1);
            exchange.getResponseBody().write('1');
            exchange.close();
        });
        server.setExecutor(Pool.of("http-exec", 8));
        server.start();
        for (int each = 1; each <= 4; each++) {
            new Thread(Healthy::ship, "shipping-" + each).start();
        }
        PaymentClient payments = new PaymentClient(Integer.toString(server.getAddress().getPort()));
        payments.charge();
        ScheduledExecutorService orders = Executors.newScheduledThreadPool(4);
        orders.scheduleAtFixedRate(() -> order(payments), 0, 20, TimeUnit.MILLISECONDS);
        System.out.println("ready");
    }

    private static void order(PaymentClient payments) {
        try {
            SHIPPED.add(payments.charge());
        } catch (IOException e) {
            System.out.println("no answer");
        }
    }

    private static void ship() {
        try {
            while (true) {
                SHIPPED.take();
            }
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }
}
