package dev.segexport.core;

/** Three channels of float32, interleaved (HWC), in the contract's colour order, in grey levels. */
final class FloatImage {
    final int width;
    final int height;
    final float[] data;

    FloatImage(int width, int height) {
        this(width, height, new float[3 * width * height]);
    }

    FloatImage(int width, int height, float[] data) {
        this.width = width;
        this.height = height;
        this.data = data;
    }

    /** Every pixel of {@code source}, as float. */
    static FloatImage of(Pixels source, boolean bgr) {
        FloatImage image = new FloatImage(source.width(), source.height());
        int[] row = new int[image.width];
        int at = 0;
        for (int y = 0; y < image.height; y++) {
            source.read(0, y, image.width, 1, row);
            for (int argb : row) {
                image.data[at] = bgr ? argb & 255 : argb >> 16 & 255;
                image.data[at + 1] = argb >> 8 & 255;
                image.data[at + 2] = bgr ? argb >> 16 & 255 : argb & 255;
                at += 3;
            }
        }
        return image;
    }
}
