package android.hardware.camera2;

import android.os.Handler;
import android.util.Size;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * A double of Android's cameras with their habits: everything is answered later, on the handler's thread, which is here
 * {@link #answer}; and whatever is not closed is seen in {@link #open}.
 */
public final class CameraManager {
    /** What was opened and not closed yet. */
    public static final List<String> open = Collections.synchronizedList(new ArrayList<String>());
    /** What waits to be answered. */
    public static final ArrayDeque<Runnable> later = new ArrayDeque<>();

    /** Camera after camera. */
    public final Map<String, CameraCharacteristics> facts = new LinkedHashMap<>();
    /** Thrown by openCamera, where it is not null. */
    public Throwable refusal;
    /** Given to onError instead of onOpened, where it is not 0. */
    public int error;
    public boolean refusesStreams;

    /** Another phone. */
    public CameraManager() {
        open.clear();
        later.clear();
    }

    public CameraManager with(String id, int facing, int orientation, Size... sizes) {
        facts.put(id, new CameraCharacteristics(facing, orientation, sizes));
        return this;
    }

    /** Answers what has waited the longest; false where nothing waits. */
    public static boolean answer() {
        Runnable next = later.poll();
        if (next != null) {
            next.run();
        }
        return next != null;
    }

    public String[] getCameraIdList() throws CameraAccessException {
        return facts.keySet().toArray(new String[0]);
    }

    public CameraCharacteristics getCameraCharacteristics(String cameraId) throws CameraAccessException {
        return facts.get(cameraId);
    }

    @SuppressWarnings("unchecked")
    private static <T extends Throwable> void raise(Throwable error) throws T {
        throw (T) error;
    }

    public void openCamera(String cameraId, CameraDevice.StateCallback callback, Handler handler)
            throws CameraAccessException {
        if (refusal != null) {
            CameraManager.<RuntimeException>raise(refusal);
        }
        CameraDevice device = new Device(this, callback);
        later.add(() -> {
            if (error != 0) {
                callback.onError(device, error);
            } else {
                callback.onOpened(device);
            }
        });
    }

    private static final class Device extends CameraDevice {
        private final CameraManager phone;

        Device(CameraManager phone, StateCallback callback) {
            this.phone = phone;
            last = callback;
            open.add("device");
        }

        @Override
        public CaptureRequest.Builder createCaptureRequest(int templateType) {
            return new CaptureRequest.Builder();
        }

        @Override
        public void createCaptureSession(
                List<android.view.Surface> outputs, CameraCaptureSession.StateCallback callback, Handler handler) {
            if (!open.contains("device")) {
                throw new IllegalStateException("CameraDevice was already closed");
            }
            CameraCaptureSession session = new Session();
            later.add(() -> {
                if (phone.refusesStreams) {
                    callback.onConfigureFailed(session);
                } else {
                    open.add("session");
                    callback.onConfigured(session);
                }
            });
        }

        @Override
        public void close() {
            open.remove("device");
        }
    }

    private static final class Session extends CameraCaptureSession {
        @Override
        public int setRepeatingRequest(CaptureRequest request, CaptureCallback listener, Handler handler) {
            open.add("stream");
            return 0;
        }

        @Override
        public void close() {
            open.remove("stream");
            open.remove("session");
        }
    }
}
