package dev.segexport.core;

/** A smaller copy of an image for the screen. */
public final class Thumbnail {
    public final int width;
    public final int height;
    /** 0xFFRRGGBB, opaque. */
    public final int[] argb;

    private Thumbnail(int width, int height, int[] argb) {
        this.width = width;
        this.height = height;
        this.argb = argb;
    }

    /** Every n-th pixel, so that no side is longer than {@code longest}. */
    public static Thumbnail of(Pixels image, int longest) {
        int longer = Math.max(image.width(), image.height());
        int width = longer <= longest ? image.width() : Math.max(1, (int) ((long) image.width() * longest / longer));
        int height = longer <= longest ? image.height() : Math.max(1, (int) ((long) image.height() * longest / longer));
        int[] argb = new int[width * height];
        int[] row = new int[image.width()];
        for (int y = 0; y < height; y++) {
            image.read(0, Placement.nearest(y, height, image.height()), row.length, 1, row);
            for (int x = 0; x < width; x++) {
                argb[y * width + x] = 0xFF000000 | row[Placement.nearest(x, width, row.length)];
            }
        }
        return new Thumbnail(width, height, argb);
    }
}
