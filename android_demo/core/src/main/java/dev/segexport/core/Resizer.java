package dev.segexport.core;

import java.util.Arrays;

/**
 * Separable resize: a row of the source is brought to the target's width once, then rows are blended. Only as many rows
 * as the kernel is high are kept, and rows that no target row needs are never read.
 */
final class Resizer {
    private Resizer() {}

    /** Brings source row {@code y} to the target's width: a float for each channel of each target pixel. */
    private interface Rows {
        void resized(int y, Taps taps, float[] out);
    }

    static FloatImage resize(final FloatImage source, int width, int height, Interpolation interpolation) {
        final int channels = source.channels;
        final int stride = channels * source.width;
        Rows rows = new Rows() {
            @Override
            public void resized(int y, Taps taps, float[] out) {
                float[] data = source.data;
                int base = y * stride;
                for (int x = 0; x < taps.start.length - 1; x++) {
                    int to = channels * x;
                    Arrays.fill(out, to, to + channels, 0f);
                    for (int k = taps.start[x]; k < taps.start[x + 1]; k++) {
                        int at = base + channels * taps.index[k];
                        float weight = taps.weight[k];
                        for (int c = 0; c < channels; c++) {
                            out[to + c] += data[at + c] * weight;
                        }
                    }
                }
            }
        };
        return blend(rows, source.width, source.height, channels, width, height, interpolation);
    }

    static FloatImage resize(
            Pixels source, ChannelOrder order, int width, int height, Interpolation interpolation) {
        int[] line = new int[source.width()];
        Rows rows = order == ChannelOrder.GRAY ? grey(source, line) : colours(source, line, order.swaps);
        return blend(rows, source.width(), source.height(), order.count, width, height, interpolation);
    }

    private static Rows grey(final Pixels source, final int[] line) {
        return new Rows() {
            @Override
            public void resized(int y, Taps taps, float[] out) {
                source.read(0, y, line.length, 1, line);
                for (int x = 0; x < taps.start.length - 1; x++) {
                    float grey = 0;
                    for (int k = taps.start[x]; k < taps.start[x + 1]; k++) {
                        grey += ChannelOrder.grey(line[taps.index[k]]) * taps.weight[k];
                    }
                    out[x] = grey;
                }
            }
        };
    }

    private static Rows colours(final Pixels source, final int[] line, final boolean bgr) {
        return new Rows() {
            @Override
            public void resized(int y, Taps taps, float[] out) {
                source.read(0, y, line.length, 1, line);
                int first = bgr ? 2 : 0;
                int last = 2 - first;
                for (int x = 0; x < taps.start.length - 1; x++) {
                    float red = 0;
                    float green = 0;
                    float blue = 0;
                    for (int k = taps.start[x]; k < taps.start[x + 1]; k++) {
                        int argb = line[taps.index[k]];
                        float weight = taps.weight[k];
                        red += (argb >> 16 & 255) * weight;
                        green += (argb >> 8 & 255) * weight;
                        blue += (argb & 255) * weight;
                    }
                    out[3 * x + first] = red;
                    out[3 * x + 1] = green;
                    out[3 * x + last] = blue;
                }
            }
        };
    }

    private static FloatImage blend(
            Rows rows, int sourceWidth, int sourceHeight, int channels, int width, int height,
            Interpolation interpolation) {
        boolean shrinks = width <= sourceWidth && height <= sourceHeight;
        Taps across = Taps.of(interpolation, sourceWidth, width, shrinks);
        Taps down = Taps.of(interpolation, sourceHeight, height, shrinks);
        FloatImage target = new FloatImage(width, height, channels);
        int stride = channels * width;
        float[][] kept = new float[down.widest][stride];
        int[] keeps = new int[down.widest];
        Arrays.fill(keeps, -1);
        for (int y = 0; y < height; y++) {
            int out = y * stride;
            for (int k = down.start[y]; k < down.start[y + 1]; k++) {
                int slot = down.index[k] % kept.length;
                float[] row = kept[slot];
                if (keeps[slot] != down.index[k]) {
                    rows.resized(down.index[k], across, row);
                    keeps[slot] = down.index[k];
                }
                float weight = down.weight[k];
                for (int i = 0; i < stride; i++) {
                    target.data[out + i] += row[i] * weight;
                }
            }
        }
        return target;
    }
}
