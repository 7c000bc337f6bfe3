package dev.segexport.core;

/**
 * A decoded image that is read piece by piece, so that a photo of many megapixels is never copied as a whole.
 * Colours are not premultiplied; alpha is ignored.
 */
public interface Pixels {
    int width();

    int height();

    /** Writes the rectangle's pixels as 0xAARRGGBB, row by row without gaps, to the start of {@code argb}. */
    void read(int x, int y, int width, int height, int[] argb);
}
