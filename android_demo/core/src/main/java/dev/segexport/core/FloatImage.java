package dev.segexport.core;

/** Channels of float32, interleaved (HWC): what a network of any number of channels is fed from. */
public final class FloatImage {
    public final int width;
    public final int height;
    public final int channels;
    final float[] data;

    FloatImage(int width, int height, int channels) {
        this(width, height, channels, new float[channels * width * height]);
    }

    /**
     * Keeps {@code data}, does not copy it.
     *
     * @param data the values of the first pixel's channels, then those of the pixel to its right, row by row
     */
    public FloatImage(int width, int height, int channels, float[] data) {
        if (data.length != (long) width * height * channels) {
            throw new IllegalArgumentException(data.length + " values are not " + width + "x" + height + "x" + channels);
        }
        this.width = width;
        this.height = height;
        this.channels = channels;
        this.data = data;
    }

    /** Every pixel of {@code source}, as float. */
    static FloatImage of(Pixels source, ChannelOrder order) {
        FloatImage image = new FloatImage(source.width(), source.height(), order.count);
        int[] row = new int[image.width];
        int at = 0;
        for (int y = 0; y < image.height; y++) {
            source.read(0, y, image.width, 1, row);
            for (int argb : row) {
                if (order == ChannelOrder.GRAY) {
                    image.data[at++] = ChannelOrder.grey(argb);
                    continue;
                }
                image.data[at++] = order.swaps ? argb & 255 : argb >> 16 & 255;
                image.data[at++] = argb >> 8 & 255;
                image.data[at++] = order.swaps ? argb >> 16 & 255 : argb & 255;
            }
        }
        return image;
    }

    /** The upper left part. */
    FloatImage cut(int newWidth, int newHeight) {
        FloatImage part = new FloatImage(newWidth, newHeight, channels);
        for (int y = 0; y < newHeight; y++) {
            System.arraycopy(data, channels * y * width, part.data, channels * y * newWidth, channels * newWidth);
        }
        return part;
    }

    /** A copy whose first and third channel have changed places. */
    FloatImage swapped() {
        float[] swapped = data.clone();
        for (int i = 0; i < swapped.length; i += channels) {
            swapped[i] = data[i + 2];
            swapped[i + 2] = data[i];
        }
        return new FloatImage(width, height, channels, swapped);
    }
}
