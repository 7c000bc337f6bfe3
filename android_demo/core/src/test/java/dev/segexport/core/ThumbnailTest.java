package dev.segexport.core;

import static org.junit.Assert.assertArrayEquals;
import static org.junit.Assert.assertEquals;

import org.junit.Test;

public class ThumbnailTest {
    @Test
    public void everySecondPixelAndOpaque() {
        int[] argb = new int[32];
        for (int i = 0; i < argb.length; i++) {
            argb[i] = i;
        }
        Thumbnail small = Thumbnail.of(new ArgbPixels(argb, 8, 4), 4);
        assertEquals(4, small.width);
        assertEquals(2, small.height);
        // The middle of each 2x2 block lies on its last pixel.
        int[] expected = {9, 11, 13, 15, 25, 27, 29, 31};
        for (int i = 0; i < expected.length; i++) {
            expected[i] |= 0xFF000000;
        }
        assertArrayEquals(expected, small.argb);
    }

    @Test
    public void aSmallImageStays() {
        Thumbnail same = Thumbnail.of(new ArgbPixels(new int[] {1, 2, 3}, 1, 3), 3);
        assertArrayEquals(new int[] {0xFF000001, 0xFF000002, 0xFF000003}, same.argb);
        assertEquals(1, Thumbnail.of(new ArgbPixels(new int[1000], 1000, 1), 10).height);
    }
}
