package dev.segexport.core;

import static org.junit.Assert.assertArrayEquals;
import static org.junit.Assert.assertEquals;
import static org.junit.Assert.assertThrows;
import static org.junit.Assert.assertTrue;

import org.junit.Test;

public class PostprocessTest {
    private static char[] ids(int... values) {
        char[] ids = new char[values.length];
        for (int i = 0; i < ids.length; i++) {
            ids[i] = (char) values[i];
        }
        return ids;
    }

    private static Mask mask(Object data, String semantics, String layout, long... shape) throws Exception {
        return Postprocess.mask(new OutputTensor(data, shape), Manifests.spec(semantics, layout));
    }

    /** Three classes, two pixels; a tie goes to the first class. */
    @Test
    public void theBestClassWins() throws Exception {
        float[] planes = {1, 5, 3, 5, 2, 0};
        assertArrayEquals(ids(1, 0), mask(planes, "logits", "NCHW", 1, 3, 1, 2).ids);
        assertArrayEquals(ids(1, 0), mask(planes, "logits", "CHW", 3, 1, 2).ids);
        float[] interleaved = {1, 3, 2, 5, 5, 0};
        assertArrayEquals(ids(1, 0), mask(interleaved, "logits", "NHWC", 1, 1, 2, 3).ids);
    }

    @Test
    public void oneChannelIsHeldAgainstAThreshold() throws Exception {
        float[] scores = {-0.1f, 0.1f, 0.5f, 0.6f};
        assertArrayEquals(ids(0, 1, 1, 1), mask(scores, "logits", "NCHW", 1, 1, 2, 2).ids);
        assertArrayEquals(ids(0, 0, 0, 1), mask(scores, "probability", "NCHW", 1, 1, 2, 2).ids);
    }

    @Test
    public void readyMasksOfEveryType() throws Exception {
        char[] expected = ids(0, 7, 200, 1, 2, 3);
        Object[] all = {
            new byte[] {0, 7, (byte) 200, 1, 2, 3}, new int[] {0, 7, 200, 1, 2, 3},
            new long[] {0, 7, 200, 1, 2, 3}, new float[] {0, 7, 200, 1, 2, 3}
        };
        long[][] shapes = {{2, 3}, {1, 2, 3}, {1, 1, 2, 3}, {1, 2, 3, 1}};
        for (Object data : all) {
            for (long[] shape : shapes) {
                Mask mask = mask(data, "class_index", "", shape);
                assertEquals(3, mask.width);
                assertEquals(2, mask.height);
                assertArrayEquals(expected, mask.ids);
            }
        }
        Mask line = mask(new int[] {1, 2, 3}, "class_index", "NHW", 1, 1, 3);
        assertEquals(3, line.width);
        assertEquals(1, line.height);
        Mask column = mask(new int[] {1, 2, 3}, "class_index", "NHW", 1, 3, 1);
        assertEquals(1, column.width);
        assertEquals(3, column.height);
        assertEquals(1, mask(new int[] {1}, "class_index", "NHW", 1, 1, 1).width);
        assertArrayEquals(ids(60000), mask(new int[] {60000}, "class_index", "NHW", 1, 1, 1).ids);
    }

    private static void refused(Object data, String semantics, String message, long... shape) {
        SegmentationException error =
                assertThrows(SegmentationException.class, () -> mask(data, semantics, "NCHW", shape));
        assertEquals(SegmentationException.Kind.RUN_FAILED, error.kind());
        assertTrue(error.getMessage(), error.getMessage().contains(message));
    }

    @Test
    public void refusesWhatIsNoMask() {
        refused(new float[] {1, Float.NaN}, "logits", "NaN", 1, 2, 1, 1);
        refused(new float[] {1, Float.POSITIVE_INFINITY}, "logits", "infinity", 1, 2, 1, 1);
        refused(new float[] {Float.NaN, 0}, "class_index", "NaN", 1, 1, 2);
        refused(new long[] {0, -1}, "class_index", "class -1", 1, 1, 2);
        refused(new int[] {0, 70000}, "class_index", "class 70000", 1, 1, 2);
        refused(new float[8], "logits", "not that of one image", 2, 2, 1, 2);
        refused(new float[8], "class_index", "not that of one image", 2, 2, 2);
        refused(new float[8], "logits", "8 values", 1, 2, 2, 1);
        refused(new float[0], "logits", "0 values", 1, 2, 0, 0);
    }

    /** A 4x2 picture in a 4x4 tensor with two rows of padding, and a mask of half the size. */
    @Test
    public void paddingIsCutOffAndStrideUndone() throws Exception {
        Preprocess preprocess = Preprocess.parse("{\"color\": \"rgb\", \"geometry\": [{\"op\": \"pad\", \"width\": 4,"
                + " \"height\": 4, \"value\": [0, 0, 0]}], \"scale\": 1, \"mean\": [0, 0, 0], \"std\": [1, 1, 1]}");
        Placement placement = preprocess.place(4, 2);
        Mask mask = Postprocess.restore(new Mask(2, 2, ids(1, 2, 9, 9)), placement);
        assertArrayEquals(ids(1, 1, 2, 2, 1, 1, 2, 2), mask.ids);
        assertArrayEquals(ids(1, 2), Postprocess.restore(new Mask(2, 2, ids(1, 2, 9, 9)), placement, 2, 1).ids);
    }

    @Test
    public void agreementCountsEqualPixels() {
        Mask mask = new Mask(2, 2, ids(0, 1, 2, 3));
        assertEquals(0.75, mask.agreement(new Mask(2, 2, ids(0, 1, 2, 4))), 0);
        assertTrue(Double.isNaN(mask.agreement(new Mask(4, 1, ids(0, 1, 2, 3)))));
    }

    @Test
    public void overlayBlends() {
        int[] picture = {0xFF000000, 0xFF646464, 0x80FFFFFF};
        Mask mask = new Mask(3, 1, ids(1, 0, 9));
        int[] palette = {0xFF000000, 0xFFC80000};
        // 200 * 51 / 255 = 40; 100 * 204 / 255 = 80; a class without a colour is magenta: 255 and 204.
        assertArrayEquals(
                new int[] {0xFF280000, 0xFF505050, 0xFFFFCCFF}, Overlay.blend(picture, mask, palette, 51));
        assertArrayEquals(
                new int[] {0xFFC80000, 0xFF000000, 0xFFFF00FF}, Overlay.blend(picture, mask, palette, 255));
        assertArrayEquals(new int[] {1, 1}, Overlay.histogram(mask, 2));
    }

    @Test
    public void percentilesAreNumpys() {
        double[] samples = {4, 1, 3, 2};
        assertEquals(2.5, Percentiles.of(samples, 50), 1e-12);
        assertEquals(3.7, Percentiles.of(samples, 90), 1e-12);
        assertEquals(4, Percentiles.of(samples, 100), 0);
        assertTrue(Double.isNaN(Percentiles.of(new double[0], 50)));
    }
}
