package dev.segexport.core;

import static org.junit.Assert.assertArrayEquals;
import static org.junit.Assert.assertEquals;
import static org.junit.Assert.assertThrows;
import static org.junit.Assert.assertTrue;

import java.nio.ByteBuffer;
import org.junit.Test;

public class YuvFrameTest {
    private final YuvFrame frame = new YuvFrame();

    private static YuvFrame.Plane plane(int length, int rowStride, int pixelStride) {
        byte[] bytes = new byte[length];
        java.util.Arrays.fill(bytes, (byte) 128);
        return new YuvFrame.Plane(ByteBuffer.wrap(bytes), rowStride, pixelStride);
    }

    private void refused(String message, YuvFrame.Plane luma, YuvFrame.Plane u, YuvFrame.Plane v, int... crop) {
        SegmentationException error = assertThrows(SegmentationException.class,
                () -> frame.copy(luma, u, v, crop[0], crop[1], crop[2], crop[3], crop[4], false));
        assertEquals(SegmentationException.Kind.BAD_IMAGE, error.kind());
        assertTrue(error.getMessage(), error.getMessage().contains(message));
    }

    @Test
    public void planesThatDoNotHoldTheCropAreRefused() throws Exception {
        YuvFrame.Plane luma = plane(4 * 6 - 2, 6, 1); // 4x4 in rows of 6, the last without its padding
        YuvFrame.Plane chroma = plane(4, 2, 1);
        frame.copy(luma, chroma, chroma, 0, 0, 4, 4, 0, false);
        refused("the plane Y has 21 bytes in rows of 6; its crop needs 22", plane(21, 6, 1), chroma, chroma, 0, 0, 4, 4, 0);
        refused("the plane U has 3 bytes", luma, plane(3, 2, 1), chroma, 0, 0, 4, 4, 0);
        refused("the plane V has 3 bytes", luma, chroma, plane(3, 2, 1), 0, 0, 4, 4, 0);
        refused("chroma planes of different strides", luma, plane(8, 4, 2), chroma, 0, 0, 4, 4, 0);
        refused("crop of 4x4 at 1, -1", luma, chroma, chroma, 1, -1, 4, 4, 0);
        refused("crop of 0x4", luma, chroma, chroma, 0, 0, 0, 4, 0);
        refused("the plane Y", luma, chroma, chroma, 3, 0, 4, 3, 0); // longer than a row
        refused("rotation by 45", luma, chroma, chroma, 0, 0, 4, 4, 45);
        refused("rotation by -90", luma, chroma, chroma, 0, 0, 4, 4, -90);
        refused("strides 0", plane(22, 0, 1), chroma, chroma, 0, 0, 4, 4, 0);
        int[] grey = new int[16];
        frame.read(0, 0, 4, 4, grey); // the last good frame is still there
        assertEquals(0xFF808080, grey[15]);
    }

    @Test
    public void oneFrameAfterAnotherOfAnySize() throws Exception {
        frame.copy(plane(16, 4, 1), plane(4, 2, 1), plane(4, 2, 1), 0, 0, 4, 4, 90, true);
        frame.copy(plane(6, 3, 1), plane(3, 4, 2), plane(3, 4, 2), 0, 0, 3, 2, 90, false);
        assertEquals(2, frame.width());
        assertEquals(3, frame.height());
        int[] pixels = new int[6];
        frame.read(0, 0, 2, 3, pixels);
        assertArrayEquals(new int[] {0xFF808080, 0xFF808080, 0xFF808080, 0xFF808080, 0xFF808080, 0xFF808080}, pixels);
    }
}
