package dev.segexport.core;

import java.io.File;
import java.util.Collections;
import java.util.List;
import java.util.Map;

/** A runtime that can run models of one format. */
public interface Backend {
    /** The provider that every backend has, and the one that is used unless another is chosen. */
    String CPU = "cpu";

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

    /** What this app's library can compute a model with, such as xnnpack or nnapi; {@link #CPU} first. */
    default List<String> providers() {
        return Collections.singletonList(CPU);
    }

    /**
     * Loads a model for one of {@link #providers}. Operators that the provider lacks run on the CPU.
     *
     * @throws SegmentationException as {@link #open(File, Manifest, int)}; PROVIDER_MISSING: the library or the phone
     *     has no such provider
     */
    default Session open(File model, Manifest manifest, int threads, String provider) throws SegmentationException {
        if (!provider.equals(CPU)) {
            throw new SegmentationException(
                    SegmentationException.Kind.PROVIDER_MISSING, name() + " of this app runs on the CPU only, not on "
                            + provider);
        }
        return open(model, manifest, threads);
    }

    /**
     * Runs a model once, and counts the operators that each provider ran; fused ones count as one.
     *
     * @param scratch a folder for a file that is gone afterwards
     * @return empty where the runtime does not tell
     */
    default Map<String, Integer> operators(
            File model, Manifest manifest, String provider, float[] nchw, int height, int width, File scratch)
            throws SegmentationException {
        return Collections.emptyMap();
    }

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
