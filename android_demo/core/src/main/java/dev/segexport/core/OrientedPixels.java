package dev.segexport.core;

/** A view of an image with its EXIF orientation applied. */
public final class OrientedPixels implements Pixels {
    private final Pixels source;
    private final boolean swapAxes;
    private final boolean mirrorX;
    private final boolean mirrorY;

    private OrientedPixels(Pixels source, boolean swapAxes, boolean mirrorX, boolean mirrorY) {
        this.source = source;
        this.swapAxes = swapAxes;
        this.mirrorX = mirrorX;
        this.mirrorY = mirrorY;
    }

    /** @param orientation EXIF's tag 0x0112, 1 to 8; any other value leaves the image as it is */
    public static Pixels of(Pixels source, int orientation) {
        switch (orientation) {
            case 2:
                return new OrientedPixels(source, false, true, false);
            case 3:
                return new OrientedPixels(source, false, true, true);
            case 4:
                return new OrientedPixels(source, false, false, true);
            case 5:
                return new OrientedPixels(source, true, false, false);
            case 6:
                return new OrientedPixels(source, true, false, true);
            case 7:
                return new OrientedPixels(source, true, true, true);
            case 8:
                return new OrientedPixels(source, true, true, false);
            default:
                return source;
        }
    }

    @Override
    public int width() {
        return swapAxes ? source.height() : source.width();
    }

    @Override
    public int height() {
        return swapAxes ? source.width() : source.height();
    }

    /** The mirrors are those of the source's axes. */
    @Override
    public void read(int x, int y, int width, int height, int[] argb) {
        int sourceWidth = swapAxes ? height : width;
        int sourceHeight = swapAxes ? width : height;
        int left = swapAxes ? y : x;
        int top = swapAxes ? x : y;
        if (mirrorX) {
            left = source.width() - left - sourceWidth;
        }
        if (mirrorY) {
            top = source.height() - top - sourceHeight;
        }
        int[] block = new int[sourceWidth * sourceHeight];
        source.read(left, top, sourceWidth, sourceHeight, block);
        for (int row = 0; row < height; row++) {
            for (int column = 0; column < width; column++) {
                int sx = swapAxes ? row : column;
                int sy = swapAxes ? column : row;
                sx = mirrorX ? sourceWidth - 1 - sx : sx;
                sy = mirrorY ? sourceHeight - 1 - sy : sy;
                argb[row * width + column] = block[sy * sourceWidth + sx];
            }
        }
    }
}
