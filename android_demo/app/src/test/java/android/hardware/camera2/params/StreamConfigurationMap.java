package android.hardware.camera2.params;

import android.util.Size;

public final class StreamConfigurationMap {
    private final Size[] sizes;

    public StreamConfigurationMap(Size... sizes) {
        this.sizes = sizes;
    }

    /** Null where the camera has none of the format, as Android does. */
    public Size[] getOutputSizes(int format) {
        return sizes.length == 0 ? null : sizes;
    }
}
