package android.hardware.camera2;

public abstract class CameraDevice implements AutoCloseable {
    public static final int TEMPLATE_PREVIEW = 1;
    /** Of the camera that was opened last. */
    public static StateCallback last;

    public abstract static class StateCallback {
        public static final int ERROR_CAMERA_IN_USE = 1;
        public static final int ERROR_MAX_CAMERAS_IN_USE = 2;
        public static final int ERROR_CAMERA_DISABLED = 3;

        public StateCallback() {}

        public abstract void onOpened(CameraDevice camera);

        public abstract void onDisconnected(CameraDevice camera);

        public abstract void onError(CameraDevice camera, int error);
    }

    public abstract CaptureRequest.Builder createCaptureRequest(int templateType) throws CameraAccessException;

    public abstract void createCaptureSession(
            java.util.List<android.view.Surface> outputs, CameraCaptureSession.StateCallback callback,
            android.os.Handler handler) throws CameraAccessException;

    @Override
    public abstract void close();
}
