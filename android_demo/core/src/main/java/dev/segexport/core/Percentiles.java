package dev.segexport.core;

import java.util.Arrays;

/** Percentiles of timings, interpolated linearly as numpy.percentile does. */
public final class Percentiles {
    private Percentiles() {}

    /** @param percent 0 to 100 */
    public static double of(double[] samples, double percent) {
        if (samples.length == 0) {
            return Double.NaN;
        }
        double[] sorted = samples.clone();
        Arrays.sort(sorted);
        double at = percent / 100 * (sorted.length - 1);
        int below = (int) Math.floor(at);
        int above = Math.min(below + 1, sorted.length - 1);
        return sorted[below] + (sorted[above] - sorted[below]) * (at - below);
    }
}
