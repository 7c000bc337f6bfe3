package dev.segexport.core;

/** An image in an array of 0xAARRGGBB. */
public final class ArgbPixels implements Pixels {
    private final int[] argb;
    private final int width;
    private final int height;

    /** Keeps {@code argb}, does not copy it. */
    public ArgbPixels(int[] argb, int width, int height) {
        if (argb.length != (long) width * height) {
            throw new IllegalArgumentException(argb.length + " pixels are not " + width + "x" + height);
        }
        this.argb = argb;
        this.width = width;
        this.height = height;
    }

    /** The array itself, row by row. */
    public int[] argb() {
        return argb;
    }

    @Override
    public int width() {
        return width;
    }

    @Override
    public int height() {
        return height;
    }

    @Override
    public void read(int x, int y, int w, int h, int[] out) {
        for (int row = 0; row < h; row++) {
            System.arraycopy(argb, (y + row) * width + x, out, row * w, w);
        }
    }
}
