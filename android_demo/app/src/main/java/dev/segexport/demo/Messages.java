package dev.segexport.demo;

import android.content.Context;
import dev.segexport.core.SegmentationException;

/** Errors in the user's language: a sentence for the kind, then the details. */
final class Messages {
    private Messages() {}

    static String of(Context context, SegmentationException error) {
        return context.getString(sentence(error.kind())) + "\n" + error.getMessage();
    }

    private static int sentence(SegmentationException.Kind kind) {
        switch (kind) {
            case BAD_MANIFEST:
                return R.string.error_bad_manifest;
            case UNSUPPORTED:
                return R.string.error_unsupported;
            case BAD_IMAGE:
                return R.string.error_bad_image;
            case MODEL_MISSING:
                return R.string.error_model_missing;
            case MODEL_REFUSED:
                return R.string.error_model_refused;
            case LIBRARY_UNSUITABLE:
                return R.string.error_library_unsuitable;
            case PROVIDER_MISSING:
                return R.string.error_provider_missing;
            case CAMERA_REFUSED:
                return R.string.error_camera_refused;
            case CAMERA_MISSING:
                return R.string.error_camera_missing;
            case CAMERA_FAILED:
                return R.string.error_camera_failed;
            case BACKEND_MISSING:
                return R.string.error_backend_missing;
            case OUT_OF_MEMORY:
                return R.string.error_out_of_memory;
            default:
                return R.string.error_run_failed;
        }
    }
}
