package dev.segexport.demo;

import static org.junit.Assert.assertEquals;
import static org.junit.Assert.assertFalse;
import static org.junit.Assert.assertNull;
import static org.junit.Assert.assertTrue;

import android.hardware.camera2.CameraAccessException;
import android.hardware.camera2.CameraDevice;
import android.hardware.camera2.CameraManager;
import android.media.ImageReader;
import android.os.Handler;
import android.util.Size;
import dev.segexport.core.SegmentationException;
import dev.segexport.core.YuvFrame;
import dev.segexport.demo.work.CameraLease;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import org.junit.Test;

/** The order in which cameras answer, and every way in which they fail, against a double of Camera2. */
public class LiveCameraTest {
    private static final int FRONT = 0, BACK = 1;
    private static final Size VGA = new Size(640, 480), FULL = new Size(1920, 1080);

    private final CameraLease lease = new CameraLease();
    private final List<String> pictures = new ArrayList<>();
    private final List<SegmentationException> failures = new ArrayList<>();
    private int rotation;
    /** Thrown by the screen, where it is not null. */
    private Throwable trouble;

    private final LiveCamera.Listener listener = new LiveCamera.Listener() {
        @Override
        public int rotation() {
            return rotation;
        }

        @Override
        public void picture(YuvFrame frame) {
            if (trouble instanceof RuntimeException) {
                throw (RuntimeException) trouble;
            }
            if (trouble != null) {
                throw (Error) trouble;
            }
            int[] whole = new int[frame.width() * frame.height()];
            frame.read(0, 0, frame.width(), frame.height(), whole);
            int white = 0;
            while (whole[white] == 0xFF808080) {
                white++;
            }
            boolean top = white < frame.width();
            boolean left = white % frame.width() == 0;
            pictures.add(frame.width() + "x" + frame.height() + (top ? " top" : " bottom") + (left ? " left" : " right"));
        }

        @Override
        public void failed(SegmentationException error) {
            failures.add(error);
        }
    };

    private static CameraManager phone() {
        return new CameraManager().with("0", BACK, 90, FULL, VGA).with("1", FRONT, 270, VGA);
    }

    private void open(CameraManager phone, boolean front) {
        new LiveCamera(phone, new Handler(), lease, listener).open(front);
    }

    /** Opened, configured: pictures may come. */
    private void stream(CameraManager phone, boolean front) {
        open(phone, front);
        assertTrue(CameraManager.answer());
        assertTrue(CameraManager.answer());
        assertTrue(CameraManager.open.contains("stream"));
    }

    private static void fill() {
        ImageReader.last.fill();
        CameraManager.answer();
    }

    private static void assertNothingIsOpen() {
        while (CameraManager.answer()) {
            continue;
        }
        assertEquals(Collections.emptyList(), CameraManager.open);
    }

    private void assertFailed(SegmentationException.Kind kind, String message) {
        assertNothingIsOpen();
        assertEquals("told once", 1, failures.size());
        assertEquals(kind, failures.get(0).kind());
        assertTrue(failures.get(0).getMessage(), failures.get(0).getMessage().contains(message));
        assertTrue(lease.isClosed());
        failures.clear();
    }

    @Test
    public void picturesComeUprightUntilTheScreenIsLeft() {
        stream(phone(), false);
        assertEquals(640, ImageReader.last.width);
        fill();
        rotation = 1; // the phone was turned; the camera goes on
        fill();
        assertEquals(Arrays.asList("480x640 top right", "640x480 top left"), pictures);
        assertFalse("each image was given back", CameraManager.open.contains("image"));
        ImageReader.last.fill();
        lease.close();
        assertNothingIsOpen();
        assertEquals("none after that", 2, pictures.size());
        assertTrue(failures.isEmpty());
    }

    @Test
    public void ofSeveralPicturesTheNewestIsLookedAt() {
        stream(phone(), false);
        for (int i = 0; i < 3; i++) {
            ImageReader.last.fill();
        }
        while (CameraManager.answer()) {
            continue;
        }
        assertEquals(1, pictures.size());
        lease.close();
        assertNothingIsOpen();
    }

    @Test
    public void leavingAtAnyMomentLeavesNothingOpen() {
        for (int answers = 0; answers <= 2; answers++) {
            CameraLease left = new CameraLease();
            new LiveCamera(phone(), new Handler(), left, listener).open(false);
            for (int i = 0; i < answers; i++) {
                CameraManager.answer();
            }
            left.close();
            assertNothingIsOpen();
        }
        CameraLease left = new CameraLease();
        left.close();
        new LiveCamera(phone(), new Handler(), left, listener).open(false);
        assertNothingIsOpen();
        assertTrue(failures.isEmpty());
    }

    @Test
    public void theCameraThatLooksAtTheUserIsMirrored() {
        stream(phone(), true);
        fill();
        assertEquals(Collections.singletonList("480x640 bottom right"), pictures); // turned back it is bottom left
    }

    @Test
    public void aPhoneOfOneCameraUsesIt() {
        stream(new CameraManager().with("0", BACK, 90, FULL), true);
        assertEquals(1920, ImageReader.last.width);
        assertTrue(failures.isEmpty());
    }

    @Test
    public void noCamera() {
        open(new CameraManager(), false);
        assertFailed(SegmentationException.Kind.CAMERA_MISSING, "no camera");
        CameraLease another = new CameraLease();
        new LiveCamera(null, new Handler(), another, listener).open(false);
        assertEquals(SegmentationException.Kind.CAMERA_MISSING, failures.get(0).kind());
    }

    @Test
    public void aCameraWithoutYuv() {
        open(new CameraManager().with("0", BACK, 90), false);
        assertFailed(SegmentationException.Kind.CAMERA_FAILED, "gives no YUV_420_888 pictures");
    }

    @Test
    public void thePermissionWasTakenBack() {
        CameraManager phone = phone();
        phone.refusal = new SecurityException("Lacking privileges");
        open(phone, false);
        assertFailed(SegmentationException.Kind.CAMERA_REFUSED, "taken back");
    }

    @Test
    public void anotherAppUsesIt() {
        CameraManager phone = phone();
        phone.refusal = new CameraAccessException(CameraAccessException.CAMERA_IN_USE);
        open(phone, false);
        assertFailed(SegmentationException.Kind.CAMERA_FAILED, "another app uses the camera");
    }

    @Test
    public void theOwnerForbidsIt() {
        CameraManager phone = phone();
        phone.error = CameraDevice.StateCallback.ERROR_CAMERA_DISABLED;
        open(phone, false);
        CameraManager.answer();
        assertFailed(SegmentationException.Kind.CAMERA_FAILED, "owner of this phone");
    }

    @Test
    public void aDriverThatAnswersWithNonsense() {
        CameraManager phone = phone();
        phone.refusal = new IllegalArgumentException("id 0 is gone");
        open(phone, false);
        assertFailed(SegmentationException.Kind.CAMERA_FAILED, "id 0 is gone");
    }

    @Test
    public void theStreamIsRefused() {
        CameraManager phone = phone();
        phone.refusesStreams = true;
        open(phone, false);
        CameraManager.answer();
        CameraManager.answer();
        assertFailed(SegmentationException.Kind.CAMERA_FAILED, "refused the stream");
    }

    @Test
    public void itIsTakenAway() {
        stream(phone(), false);
        CameraDevice.last.onDisconnected(new CameraDevice() {
            @Override
            public android.hardware.camera2.CaptureRequest.Builder createCaptureRequest(int templateType) {
                throw new UnsupportedOperationException();
            }

            @Override
            public void createCaptureSession(
                    List<android.view.Surface> outputs,
                    android.hardware.camera2.CameraCaptureSession.StateCallback callback, Handler handler) {
                throw new UnsupportedOperationException();
            }

            @Override
            public void close() {}
        });
        assertFailed(SegmentationException.Kind.CAMERA_FAILED, "another app has taken the camera");
    }

    @Test
    public void aScreenThatCannotDraw() {
        stream(phone(), false);
        trouble = new IllegalStateException("no surface");
        fill();
        assertFailed(SegmentationException.Kind.RUN_FAILED, "no surface");
    }

    @Test
    public void notEnoughMemory() {
        stream(phone(), false);
        trouble = new OutOfMemoryError();
        fill();
        assertFailed(SegmentationException.Kind.OUT_OF_MEMORY, "not enough memory");
    }

    @Test
    public void aDamagedPicture() {
        stream(phone(), false);
        ImageReader.last.damaged = true;
        fill();
        assertFailed(SegmentationException.Kind.BAD_IMAGE, "the plane Y has");
        assertTrue(pictures.isEmpty());
        assertNull(CameraManager.later.peek());
    }
}
