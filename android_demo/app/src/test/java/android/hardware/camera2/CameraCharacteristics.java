package android.hardware.camera2;

import android.hardware.camera2.params.StreamConfigurationMap;
import android.util.Size;

public final class CameraCharacteristics extends CameraMetadata<CameraCharacteristics.Key<?>> {
    public static final class Key<T> {}

    public static final Key<Integer> LENS_FACING = new Key<>();
    public static final Key<Integer> SENSOR_ORIENTATION = new Key<>();
    public static final Key<StreamConfigurationMap> SCALER_STREAM_CONFIGURATION_MAP = new Key<>();

    private final int facing;
    private final int orientation;
    private final Size[] sizes;

    CameraCharacteristics(int facing, int orientation, Size... sizes) {
        this.facing = facing;
        this.orientation = orientation;
        this.sizes = sizes;
    }

    @SuppressWarnings("unchecked")
    public <T> T get(Key<T> key) {
        Object value = key == LENS_FACING ? (Object) facing
                : key == SENSOR_ORIENTATION ? (Object) orientation : new StreamConfigurationMap(sizes);
        return (T) value;
    }
}
