package dev.segexport.core;

/** The position of an image in its tensor: its sizes before and after each geometry operation. Maps masks back. */
public final class Placement {
    private final int[][] sizes;
    private final boolean[] padded;

    Placement(int[][] sizes, boolean[] padded) {
        this.sizes = sizes;
        this.padded = padded;
    }

    public int imageWidth() {
        return sizes[0][0];
    }

    public int imageHeight() {
        return sizes[0][1];
    }

    public int tensorWidth() {
        return sizes[sizes.length - 1][0];
    }

    public int tensorHeight() {
        return sizes[sizes.length - 1][1];
    }

    /** The {width, height} after operation {@code index}. */
    int[] sizeAfter(int index) {
        return sizes[index + 1];
    }

    /** An image of the tensor's size brought back to the picture's. */
    FloatImage undone(FloatImage tensor) {
        FloatImage image = tensor;
        for (int op = padded.length - 1; op >= 0; op--) {
            int[] size = sizes[op];
            image = padded[op] ? image.cut(size[0], size[1]) : Matte.resized(image, size[0], size[1]);
        }
        return image;
    }

    /** For each column of a picture of {@code width} columns, the column of a mask that is {@code maskWidth} wide. */
    int[] columns(int width, int maskWidth) {
        return indices(width, maskWidth, 0);
    }

    int[] rows(int height, int maskHeight) {
        return indices(height, maskHeight, 1);
    }

    /** Through the resizes, past the paddings; in integers with half-pixel centres, as in Python. */
    private int[] indices(int shown, int mask, int axis) {
        int[] index = new int[shown];
        for (int i = 0; i < shown; i++) {
            int at = nearest(i, shown, sizes[0][axis]);
            for (int op = 0; op < padded.length; op++) {
                if (!padded[op]) {
                    at = nearest(at, sizes[op][axis], sizes[op + 1][axis]);
                }
            }
            index[i] = nearest(at, sizes[sizes.length - 1][axis], mask);
        }
        return index;
    }

    /** The pixel of {@code newSize} pixels that lies where pixel {@code index} of {@code size} pixels lies. */
    static int nearest(int index, int size, int newSize) {
        return (int) ((2L * index + 1) * newSize / (2L * size));
    }
}
