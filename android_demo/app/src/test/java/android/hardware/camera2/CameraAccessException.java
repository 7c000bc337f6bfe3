package android.hardware.camera2;

public class CameraAccessException extends android.util.AndroidException {
    private static final long serialVersionUID = 1L;
    public static final int CAMERA_DISABLED = 1;
    public static final int CAMERA_IN_USE = 4;
    public static final int MAX_CAMERAS_IN_USE = 5;

    private final int problem;

    public CameraAccessException(int problem) {
        this.problem = problem;
    }

    public final int getReason() {
        return problem;
    }
}
