package android.hardware.camera2;

public final class CameraManager {
    CameraManager() {}

    public String[] getCameraIdList() throws CameraAccessException {
        throw new UnsupportedOperationException("stub");
    }

    public CameraCharacteristics getCameraCharacteristics(String cameraId) throws CameraAccessException {
        throw new UnsupportedOperationException("stub");
    }

    public void openCamera(String cameraId, CameraDevice.StateCallback callback, android.os.Handler handler)
            throws CameraAccessException {
        throw new UnsupportedOperationException("stub");
    }
}
