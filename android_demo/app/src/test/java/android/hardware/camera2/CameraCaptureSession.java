package android.hardware.camera2;

public abstract class CameraCaptureSession implements AutoCloseable {
    public abstract static class CaptureCallback {}

    public abstract static class StateCallback {
        public StateCallback() {}

        public abstract void onConfigured(CameraCaptureSession session);

        public abstract void onConfigureFailed(CameraCaptureSession session);
    }

    public CameraCaptureSession() {}

    public abstract int setRepeatingRequest(CaptureRequest request, CaptureCallback listener, android.os.Handler handler)
            throws CameraAccessException;

    @Override
    public abstract void close();
}
