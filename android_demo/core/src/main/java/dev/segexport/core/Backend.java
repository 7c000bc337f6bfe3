package dev.segexport.core;

import java.io.File;

/** A runtime that can run models of one format. */
public interface Backend {
    /** As a person calls it. */
    String name();

    /** The manifest's format that it runs, such as onnx. */
    String format();

    /**
     * Loads a model.
     *
     * @throws SegmentationException BACKEND_MISSING: the runtime's library is not part of the app; MODEL_REFUSED
     */
    Session open(File model, Manifest manifest, int threads) throws SegmentationException;

    /** A loaded model. Used and closed by the thread that opened it. */
    interface Session {
        /** The runtime's own version. */
        String version();

        /**
         * Runs the model once.
         *
         * @param nchw the input, 1xCx{@code height}x{@code width}
         * @return the output that is the segmentation
         */
        OutputTensor run(float[] nchw, int height, int width) throws SegmentationException;

        /**
         * Makes the run that is under way fail soon, if the runtime can do that. The one method that another thread
         * calls; no run later than that one may fail from it.
         */
        default void cancel() {}

        void close();
    }
}
