package shop;

/**
 * A loop that its compiler takes for short, so that it holds no safepoint: everything that wants the JVM's attention
 * waits for its end. Needs -XX:+UseSerialGC -XX:-UseCountedLoopSafepoints -XX:LoopStripMiningIter=0.
 */
public final class NoSafepoint {
    private static volatile double result;

    public static void main(String[] arguments) {
        for (int warm = 0; warm < 300; warm++) {
            result = roots(20_000);
        }
        System.out.println("ready");
        while (true) {
            result = roots(Integer.MAX_VALUE);
        }
    }

    private static double roots(int count) {
        double sum = 1;
        for (int each = 1; each < count; each++) {
            sum = Math.sqrt(sum + each % 7) * Math.sqrt(sum + 1);
        }
        return sum;
    }
}
