package android.hardware.camera2;

public final class CameraCharacteristics extends CameraMetadata<CameraCharacteristics.Key<?>> {
    CameraCharacteristics() {}

    public static final class Key<T> {
        Key() {}
    }

    public static final Key<Integer> LENS_FACING = null;

    public static final Key<Integer> SENSOR_ORIENTATION = null;

    public static final Key<android.hardware.camera2.params.StreamConfigurationMap> SCALER_STREAM_CONFIGURATION_MAP =
            null;

    public <T> T get(Key<T> key) {
        throw new UnsupportedOperationException("stub");
    }
}
