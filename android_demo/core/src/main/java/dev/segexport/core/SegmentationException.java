package dev.segexport.core;

/** The one exception of this library: what went wrong, and of which kind, so that an app can say it in its own words. */
public final class SegmentationException extends Exception {
    /** What a caller can do about it differs by kind. */
    public enum Kind {
        /** manifest.json or another file of the pack cannot be read. */
        BAD_MANIFEST,
        /** The contract asks for something that this library does not do. */
        UNSUPPORTED,
        /** The image cannot be decoded, or has no pixels. */
        BAD_IMAGE,
        /** There is no model where one was expected. */
        MODEL_MISSING,
        /** The runtime does not take the model: damaged, of another version, or too large. */
        MODEL_REFUSED,
        /** The model needs a library that was built otherwise than the app's; loading it could end the process. */
        LIBRARY_UNSUITABLE,
        /** The runtime is not part of this app. */
        BACKEND_MISSING,
        /** The library or the phone lacks what the model was to be computed with, such as nnapi. */
        PROVIDER_MISSING,
        /** The model ran and failed, or answered with something that is not a mask. */
        RUN_FAILED,
        /** There was not enough memory. */
        OUT_OF_MEMORY,
        /** The segmenter was closed. */
        CLOSED,
        /** The thread that waited for the answer was interrupted. */
        CANCELLED,
        /** The user does not allow the camera. */
        CAMERA_REFUSED,
        /** The phone has no camera. */
        CAMERA_MISSING,
        /** The camera is used by another app, forbidden by the phone's owner, or broke down. */
        CAMERA_FAILED
    }

    private static final long serialVersionUID = 1L;
    private final Kind kind;

    public SegmentationException(Kind kind, String message) {
        this(kind, message, null);
    }

    public SegmentationException(Kind kind, String message, Throwable cause) {
        super(message, cause);
        this.kind = kind;
    }

    public Kind kind() {
        return kind;
    }
}
