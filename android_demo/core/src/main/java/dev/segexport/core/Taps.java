package dev.segexport.core;

/**
 * One axis of a separable resize: for every destination pixel, the source pixels it is made of and their weights.
 * Pixel {@code i} owns the entries {@code start[i]} to {@code start[i + 1] - 1} of {@code index} and {@code weight}.
 */
final class Taps {
    final int[] start;
    final int[] index;
    final float[] weight;
    /** Most source pixels that one destination pixel needs. */
    final int widest;

    private Taps(int[] start, int[] index, float[] weight, int widest) {
        this.start = start;
        this.index = index;
        this.weight = weight;
        this.widest = widest;
    }

    /**
     * @param shrinks whether neither axis of the image grows; only then AREA averages, else it is a kind of linear
     */
    static Taps of(Interpolation interpolation, int source, int target, boolean shrinks) {
        switch (interpolation) {
            case NEAREST:
                return nearest(source, target);
            case CUBIC:
                return convolution(source, target, 4);
            case LANCZOS4:
                return convolution(source, target, 8);
            case AREA:
                return shrinks ? area(source, target) : linear(source, target, true);
            default:
                return linear(source, target, false);
        }
    }

    private static double scale(int source, int target) {
        return 1.0 / ((double) target / source); // OpenCV divides twice
    }

    private static Taps nearest(int source, int target) {
        Builder taps = new Builder(target, 1);
        for (int i = 0; i < target; i++) {
            taps.add(Placement.nearest(i, target, source), 1f);
            taps.next();
        }
        return taps.build();
    }

    private static Taps linear(int source, int target, boolean areaCentres) {
        double scale = scale(source, target);
        double inverse = (double) target / source;
        Builder taps = new Builder(target, 2);
        for (int i = 0; i < target; i++) {
            int first;
            float fraction;
            if (areaCentres) {
                first = (int) Math.floor(i * scale);
                fraction = (float) ((i + 1) - (first + 1) * inverse);
                fraction = fraction <= 0 ? 0f : fraction - (float) Math.floor(fraction);
            } else {
                double position = (i + 0.5) * scale - 0.5; // in float it would be off by 1e-4 at a few hundred
                first = (int) Math.floor(position);
                fraction = (float) (position - first);
            }
            if (first < 0) {
                first = 0;
                fraction = 0f;
            }
            if (first >= source - 1) {
                taps.add(source - 1, 1f);
            } else {
                taps.add(first, 1f - fraction);
                taps.add(first + 1, fraction);
            }
            taps.next();
        }
        return taps.build();
    }

    private static Taps convolution(int source, int target, int taps) {
        double scale = scale(source, target);
        Builder builder = new Builder(target, taps);
        float[] weights = new float[taps];
        for (int i = 0; i < target; i++) {
            double position = (i + 0.5) * scale - 0.5;
            int centre = (int) Math.floor(position);
            if (taps == 4) {
                cubic((float) (position - centre), weights);
            } else {
                lanczos4((float) (position - centre), weights);
            }
            for (int k = 0; k < taps; k++) {
                int at = centre - taps / 2 + 1 + k;
                builder.add(Math.max(0, Math.min(source - 1, at)), weights[k]); // the border is repeated
            }
            builder.next();
        }
        return builder.build();
    }

    private static void cubic(float x, float[] weights) {
        final float a = -0.75f;
        weights[0] = ((a * (x + 1) - 5 * a) * (x + 1) + 8 * a) * (x + 1) - 4 * a;
        weights[1] = ((a + 2) * x - (a + 3)) * x * x + 1;
        weights[2] = ((a + 2) * (1 - x) - (a + 3)) * (1 - x) * (1 - x) + 1;
        weights[3] = 1f - weights[0] - weights[1] - weights[2];
    }

    /** sinc(t) sinc(t / 4) at the 8 neighbours, brought to a sum of 1. */
    private static void lanczos4(float x, float[] weights) {
        if (x < Float.MIN_NORMAL) {
            java.util.Arrays.fill(weights, 0f);
            weights[3] = 1f;
            return;
        }
        double sum = 0;
        double[] exact = new double[8];
        for (int k = 0; k < 8; k++) {
            double t = Math.PI * (x + 3 - k);
            exact[k] = Math.abs(t) < 1e-12 ? 1 : Math.sin(t) * Math.sin(t / 4) / (t * t / 4);
            sum += exact[k];
        }
        for (int k = 0; k < 8; k++) {
            weights[k] = (float) (exact[k] / sum);
        }
    }

    private static Taps area(int source, int target) {
        double scale = scale(source, target);
        Builder taps = new Builder(target, (int) Math.ceil(scale) + 2);
        for (int i = 0; i < target; i++) {
            double from = i * scale;
            double to = from + scale;
            double cell = Math.min(scale, source - from);
            int last = Math.min((int) Math.floor(to), source - 1);
            int first = Math.min((int) Math.ceil(from), last);
            if (first - from > 1e-3) {
                taps.add(first - 1, (float) ((first - from) / cell));
            }
            for (int k = first; k < last; k++) {
                taps.add(k, (float) (1.0 / cell));
            }
            if (to - last > 1e-3) {
                taps.add(last, (float) (Math.min(Math.min(to - last, 1.0), cell) / cell));
            }
            taps.next();
        }
        return taps.build();
    }

    private static final class Builder {
        private final int[] start;
        private int[] index;
        private float[] weight;
        private int pixels;
        private int used;
        private int widest;

        Builder(int target, int expected) {
            start = new int[target + 1];
            index = new int[target * expected];
            weight = new float[target * expected];
        }

        void add(int at, float value) {
            if (used == index.length) {
                index = java.util.Arrays.copyOf(index, used * 2 + 8);
                weight = java.util.Arrays.copyOf(weight, used * 2 + 8);
            }
            index[used] = at;
            weight[used++] = value;
        }

        void next() {
            widest = Math.max(widest, used - start[pixels]);
            start[++pixels] = used;
        }

        Taps build() {
            return new Taps(start, index, weight, widest);
        }
    }
}
