package dev.segexport.core;

/** The answer for one image. */
public final class Segmentation {
    /** At the size of the model's answer; {@link Postprocess#restore} brings it to the picture's. */
    public final Mask mask;
    /** Null where the input was a tensor. */
    public final Placement placement;
    public final double preprocessMs;
    public final double inferenceMs;
    /** From the model's output to {@link #mask}. */
    public final double postprocessMs;

    Segmentation(Mask mask, Placement placement, long started, long fed, long answered, long done) {
        this.mask = mask;
        this.placement = placement;
        preprocessMs = (fed - started) / 1e6;
        inferenceMs = (answered - fed) / 1e6;
        postprocessMs = (done - answered) / 1e6;
    }
}
