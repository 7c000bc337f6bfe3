package dev.segexport.core;

/** The foreground of one frame of a video. */
public final class Matte {
    public final int width;
    public final int height;
    /** The foreground's opacity from 0 to 1, at the size of the model's answer, row by row. */
    public final float[] alpha;
    public final Placement placement;
    public final double inferenceMs;

    Matte(int width, int height, float[] alpha, Placement placement, double inferenceMs) {
        this.width = width;
        this.height = height;
        this.alpha = alpha;
        this.placement = placement;
        this.inferenceMs = inferenceMs;
    }

    /** The opacity at the picture's size: paddings cut off, resizes undone bilinearly. */
    public float[] restored() {
        FloatImage image = new FloatImage(width, height, 1, alpha);
        image = resized(image, placement.tensorWidth(), placement.tensorHeight());
        return placement.undone(image).data;
    }

    static FloatImage resized(FloatImage image, int width, int height) {
        boolean same = image.width == width && image.height == height;
        return same ? image : Resizer.resize(image, width, height, Interpolation.LINEAR);
    }
}
