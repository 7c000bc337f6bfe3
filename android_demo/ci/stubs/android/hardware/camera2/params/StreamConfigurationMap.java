package android.hardware.camera2.params;

public final class StreamConfigurationMap {
    StreamConfigurationMap() {}

    public android.util.Size[] getOutputSizes(int format) {
        throw new UnsupportedOperationException("stub");
    }
}
