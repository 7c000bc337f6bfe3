package dev.segexport.core;

/** Paints a mask over a picture. */
public final class Overlay {
    /** For classes that the manifest does not name. */
    private static final int UNKNOWN = 0xFFFF00FF;

    private Overlay() {}

    /** 0xFFRRGGBB for every class index up to the largest in the manifest. */
    public static int[] palette(Manifest manifest) {
        int largest = 0;
        for (Label label : manifest.labels) {
            largest = Math.max(largest, label.id);
        }
        int[] palette = new int[largest + 1];
        java.util.Arrays.fill(palette, UNKNOWN);
        for (Label label : manifest.labels) {
            palette[label.id] = label.argb;
        }
        return palette;
    }

    /**
     * The picture with each pixel's class colour over it.
     *
     * @param argb the picture, of the mask's size; not changed
     * @param opacity 0 shows the picture alone, 255 the mask alone
     * @return 0xFFRRGGBB for each pixel
     */
    public static int[] blend(int[] argb, Mask mask, int[] palette, int opacity) {
        int[] out = new int[argb.length];
        blend(argb, mask, palette, opacity, out);
        return out;
    }

    /** The same into an array that is there already, for pictures that follow each other. */
    public static void blend(int[] argb, Mask mask, int[] palette, int opacity, int[] out) {
        if (argb.length != mask.ids.length) {
            throw new IllegalArgumentException(argb.length + " pixels, but a mask of " + mask.ids.length);
        }
        for (int i = 0; i < argb.length; i++) {
            int id = mask.ids[i];
            out[i] = mixed(argb[i], id < palette.length ? palette[id] : UNKNOWN, opacity);
        }
    }

    /**
     * The picture before another background.
     *
     * @param alpha opacity of the foreground, 0 to 1
     * @param background 0xRRGGBB
     * @param opacity 0 leaves the picture's own background, 255 shows the new one alone
     */
    public static void replace(int[] argb, float[] alpha, int background, int opacity, int[] out) {
        if (argb.length != alpha.length) {
            throw new IllegalArgumentException(argb.length + " pixels, but the opacity of " + alpha.length);
        }
        for (int i = 0; i < argb.length; i++) {
            out[i] = mixed(argb[i], background, (int) ((1f - alpha[i]) * opacity + 0.5f));
        }
    }

    private static int mixed(int under, int over, int opacity) {
        return 0xFF000000
                | mix(under >> 16 & 255, over >> 16 & 255, opacity) << 16
                | mix(under >> 8 & 255, over >> 8 & 255, opacity) << 8
                | mix(under & 255, over & 255, opacity);
    }

    private static int mix(int under, int over, int opacity) {
        return (under * (255 - opacity) + over * opacity + 127) / 255;
    }

    /** Pixels of each class that occurs, by class index; for the legend. */
    public static int[] histogram(Mask mask, int classes) {
        int[] count = new int[classes];
        for (char id : mask.ids) {
            if (id < classes) {
                count[id]++;
            }
        }
        return count;
    }
}
