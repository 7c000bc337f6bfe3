package dev.segexport.core;

import static org.junit.Assert.assertArrayEquals;
import static org.junit.Assert.assertEquals;

import org.junit.Test;

public class OrientedPixelsTest {
    /** 1 2 3 over 4 5 6, as a camera stored it; row by row what a person must see for each orientation. */
    private static final int[][] UPRIGHT = {
        {1, 2, 3, 4, 5, 6}, {3, 2, 1, 6, 5, 4}, {6, 5, 4, 3, 2, 1}, {4, 5, 6, 1, 2, 3},
        {1, 4, 2, 5, 3, 6}, {4, 1, 5, 2, 6, 3}, {6, 3, 5, 2, 4, 1}, {3, 6, 2, 5, 1, 4}
    };

    @Test
    public void allEight() {
        for (int orientation = 1; orientation <= 8; orientation++) {
            Pixels view = OrientedPixels.of(new ArgbPixels(new int[] {1, 2, 3, 4, 5, 6}, 3, 2), orientation);
            assertEquals(orientation < 5 ? 3 : 2, view.width());
            assertEquals(orientation < 5 ? 2 : 3, view.height());
            int[] whole = new int[6];
            view.read(0, 0, view.width(), view.height(), whole);
            assertArrayEquals("orientation " + orientation, UPRIGHT[orientation - 1], whole);
            int[] last = new int[1];
            view.read(view.width() - 1, view.height() - 1, 1, 1, last);
            assertEquals(UPRIGHT[orientation - 1][5], last[0]);
            int[] row = new int[view.width()];
            view.read(0, 1, view.width(), 1, row);
            assertEquals(UPRIGHT[orientation - 1][view.width()], row[0]);
        }
    }

    @Test
    public void nonsenseLeavesTheImage() {
        Pixels image = new ArgbPixels(new int[] {1, 2}, 2, 1);
        assertEquals(image, OrientedPixels.of(image, 0));
        assertEquals(image, OrientedPixels.of(image, 9));
    }
}
