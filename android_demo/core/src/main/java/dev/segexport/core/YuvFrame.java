package dev.segexport.core;

import java.nio.ByteBuffer;

/**
 * A camera's frame in YUV 4:2:0, such as Android's YUV_420_888, as upright pixels: cropped, then turned, then mirrored.
 * Colours are full-range BT.601, as Android's cameras give them; a chroma value holds for its 2x2 pixels.
 *
 * <p>Keeps its arrays from one {@link #copy} to the next. Not for several threads at once.
 */
public final class YuvFrame implements Pixels {
    /** One plane of a frame: samples in rows of {@code rowStride} bytes, {@code pixelStride} bytes apart. */
    public static final class Plane {
        final ByteBuffer bytes;
        final int rowStride;
        final int pixelStride;

        /** Keeps {@code bytes}, does not copy it; the plane begins at its position. */
        public Plane(ByteBuffer bytes, int rowStride, int pixelStride) {
            this.bytes = bytes;
            this.rowStride = rowStride;
            this.pixelStride = pixelStride;
        }
    }

    // BT.601 in 1/65536: 1.402, 0.344136, 0.714136, 1.772.
    private static final int V_RED = 91881, U_GREEN = 22554, V_GREEN = 46802, U_BLUE = 116130, HALF = 1 << 15;

    private byte[] luma = new byte[0], u = new byte[0], v = new byte[0];
    private int lumaRow, lumaStep, chromaRow, chromaStep;
    private int left, top, cropWidth, cropHeight, rotation;
    private boolean mirrored;

    /**
     * Takes a camera's frame over; its buffers are free afterwards.
     *
     * @param left the crop's first column; the crop may begin and end at odd places
     * @param rotation degrees clockwise that turn the frame upright: 0, 90, 180 or 270
     * @param mirrored whether to exchange left and right of the upright frame, as a mirror does
     * @throws SegmentationException BAD_IMAGE: the planes do not hold the crop, or the strides or the angle make no sense
     */
    public void copy(
            Plane luma, Plane u, Plane v, int left, int top, int width, int height, int rotation, boolean mirrored)
            throws SegmentationException {
        if (left < 0 || top < 0 || width < 1 || height < 1 || width > 65535 || height > 65535) {
            throw bad("a crop of " + width + "x" + height + " at " + left + ", " + top);
        }
        if (rotation < 0 || rotation > 270 || rotation % 90 != 0) {
            throw bad("a rotation by " + rotation + " degrees");
        }
        if (u.rowStride != v.rowStride || u.pixelStride != v.pixelStride) {
            throw bad("chroma planes of different strides");
        }
        long right = (long) left + width - 1;
        long bottom = (long) top + height - 1;
        requireInside("Y", luma, right, bottom);
        requireInside("U", u, right / 2, bottom / 2);
        requireInside("V", v, right / 2, bottom / 2);
        this.luma = copied(luma, this.luma);
        this.u = copied(u, this.u);
        this.v = copied(v, this.v);
        lumaRow = luma.rowStride;
        lumaStep = luma.pixelStride;
        chromaRow = u.rowStride;
        chromaStep = u.pixelStride;
        this.left = left;
        this.top = top;
        cropWidth = width;
        cropHeight = height;
        this.rotation = rotation;
        this.mirrored = mirrored;
    }

    /** The last row of a plane may end with its last sample, without padding. */
    private static void requireInside(String name, Plane plane, long lastColumn, long lastRow)
            throws SegmentationException {
        if (plane.pixelStride < 1 || plane.rowStride < 1) {
            throw bad("the plane " + name + " has the strides " + plane.rowStride + " and " + plane.pixelStride);
        }
        long needed = lastRow * plane.rowStride + lastColumn * plane.pixelStride + 1;
        if (needed > plane.bytes.remaining() || lastColumn * plane.pixelStride >= plane.rowStride) {
            throw bad("the plane " + name + " has " + plane.bytes.remaining() + " bytes in rows of " + plane.rowStride
                    + "; its crop needs " + needed);
        }
    }

    private static byte[] copied(Plane plane, byte[] kept) {
        int length = plane.bytes.remaining();
        byte[] bytes = kept.length == length ? kept : new byte[length];
        plane.bytes.duplicate().get(bytes);
        return bytes;
    }

    @Override
    public int width() {
        return rotation % 180 == 0 ? cropWidth : cropHeight;
    }

    @Override
    public int height() {
        return rotation % 180 == 0 ? cropHeight : cropWidth;
    }

    @Override
    public void read(int x, int y, int width, int height, int[] argb) {
        int firstX = mirrored ? width() - 1 - x : x;
        int direction = mirrored ? -1 : 1;
        // Along a row of the upright frame, the camera's column and row grow by these.
        int acrossX = rotation == 0 ? direction : rotation == 180 ? -direction : 0;
        int acrossY = rotation == 270 ? direction : rotation == 90 ? -direction : 0;
        int at = 0;
        for (int row = y; row < y + height; row++) {
            int sourceX = left + column(firstX, row);
            int sourceY = top + line(firstX, row);
            for (int i = 0; i < width; i++) {
                int chroma = (sourceY >> 1) * chromaRow + (sourceX >> 1) * chromaStep;
                argb[at++] = argb(luma[sourceY * lumaRow + sourceX * lumaStep] & 255,
                        (u[chroma] & 255) - 128, (v[chroma] & 255) - 128);
                sourceX += acrossX;
                sourceY += acrossY;
            }
        }
    }

    /** The crop's column that becomes (x, y) when it is turned. */
    private int column(int x, int y) {
        return rotation == 0 ? x : rotation == 90 ? y : cropWidth - 1 - (rotation == 180 ? x : y);
    }

    private int line(int x, int y) {
        return rotation == 0 ? y : rotation == 270 ? x : cropHeight - 1 - (rotation == 180 ? y : x);
    }

    private static int argb(int luma, int u, int v) {
        int red = luma + (V_RED * v + HALF >> 16);
        int green = luma - (U_GREEN * u + V_GREEN * v + HALF >> 16);
        int blue = luma + (U_BLUE * u + HALF >> 16);
        if ((red | green | blue) >>> 8 != 0) { // one of them is out of range
            red = Math.max(0, Math.min(255, red));
            green = Math.max(0, Math.min(255, green));
            blue = Math.max(0, Math.min(255, blue));
        }
        return 0xFF000000 | red << 16 | green << 8 | blue;
    }

    private static SegmentationException bad(String message) {
        return new SegmentationException(SegmentationException.Kind.BAD_IMAGE, "a camera's frame: " + message);
    }
}
