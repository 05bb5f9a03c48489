package shop;

import java.io.IOException;
import java.io.InputStream;
import java.net.HttpURLConnection;
import java.net.URL;

/** Charges an order at a downstream service, and waits for its answer without a limit, as many clients do. */
final class PaymentClient {
    private final URL downstream;

    PaymentClient(String port) throws IOException {
        this.downstream = new URL("http://127.0.0.1:" + port + "/charge");
    }

    int charge() throws IOException {
        HttpURLConnection connection = (HttpURLConnection) downstream.openConnection();
        try (InputStream answer = connection.getInputStream()) {
            return answer.read();
        }
    }
}
