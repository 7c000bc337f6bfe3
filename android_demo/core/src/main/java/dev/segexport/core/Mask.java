package dev.segexport.core;

/** The class of each pixel. {@code char} is Java's unsigned 16-bit number. */
public final class Mask {
    public final int width;
    public final int height;
    public final char[] ids;

    public Mask(int width, int height, char[] ids) {
        if (ids.length != (long) width * height) {
            throw new IllegalArgumentException(ids.length + " classes are not " + width + "x" + height);
        }
        this.width = width;
        this.height = height;
        this.ids = ids;
    }

    /** The fraction of pixels on which both agree; NaN where the sizes differ. */
    public double agreement(Mask other) {
        if (width != other.width || height != other.height) {
            return Double.NaN;
        }
        int same = 0;
        for (int i = 0; i < ids.length; i++) {
            if (ids[i] == other.ids[i]) {
                same++;
            }
        }
        return (double) same / ids.length;
    }
}
