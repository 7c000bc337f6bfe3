package dev.segexport.demo;

import android.graphics.ImageFormat;
import android.graphics.Rect;
import android.hardware.camera2.CameraAccessException;
import android.hardware.camera2.CameraCaptureSession;
import android.hardware.camera2.CameraCharacteristics;
import android.hardware.camera2.CameraDevice;
import android.hardware.camera2.CameraManager;
import android.hardware.camera2.CameraMetadata;
import android.hardware.camera2.CaptureRequest;
import android.hardware.camera2.params.StreamConfigurationMap;
import android.media.Image;
import android.media.ImageReader;
import android.os.Handler;
import android.util.Size;
import dev.segexport.core.SegmentationException;
import dev.segexport.core.YuvFrame;
import dev.segexport.demo.work.CameraGeometry;
import dev.segexport.demo.work.CameraLease;
import java.util.Collections;

/**
 * A camera's stream of upright pictures. Everything happens on the handler's thread; of pictures that come while one is
 * looked at, Android keeps the newest.
 */
final class LiveCamera {
    /** On the handler's thread. */
    interface Listener {
        /** The screen's rotation, 0 to 3, as {@code Display.getRotation} counts. */
        int rotation();

        /** A picture; it is overwritten by the next one. */
        void picture(YuvFrame frame);

        /** The camera cannot be had, or was taken away. */
        void failed(SegmentationException error);
    }

    /** One being looked at, one being filled, one that waits. */
    private static final int IMAGES = 3;

    private final CameraManager cameras;
    private final Handler handler;
    private final CameraLease lease;
    private final Listener listener;
    private final YuvFrame frame = new YuvFrame();
    private int sensor;
    private boolean front;

    /**
     * @param cameras null on a device without the service
     * @param lease holds the camera, and closes it on the handler's thread
     */
    LiveCamera(CameraManager cameras, Handler handler, CameraLease lease, Listener listener) {
        this.cameras = cameras;
        this.handler = handler;
        this.lease = lease;
        this.listener = listener;
    }

    /** Opens the camera that looks forwards or at the user; where the phone has only the other one, that one. */
    void open(boolean wantsFront) {
        if (lease.isClosed()) {
            return;
        }
        try {
            String id = choose(wantsFront);
            CameraCharacteristics facts = cameras.getCameraCharacteristics(id);
            front = isFront(facts);
            Integer orientation = facts.get(CameraCharacteristics.SENSOR_ORIENTATION);
            sensor = orientation == null ? 0 : orientation;
            final ImageReader reader = reader(facts, id);
            lease.hold(reader::close);
            reader.setOnImageAvailableListener(this::look, handler);
            cameras.openCamera(id, new CameraDevice.StateCallback() {
                @Override
                public void onOpened(CameraDevice camera) {
                    if (lease.hold(camera::close)) {
                        configure(camera, reader);
                    }
                }

                @Override
                public void onDisconnected(CameraDevice camera) {
                    camera.close(); // it may come before onOpened, so the lease does not hold it
                    fail("another app has taken the camera", null);
                }

                @Override
                public void onError(CameraDevice camera, int error) {
                    camera.close();
                    fail(reason(error), null);
                }
            }, handler);
        } catch (SegmentationException error) {
            end(error);
        } catch (CameraAccessException error) {
            fail(accessReason(error), error);
        } catch (SecurityException error) {
            end(new SegmentationException(
                    SegmentationException.Kind.CAMERA_REFUSED, "the permission was taken back", error));
        } catch (RuntimeException error) { // an id that is gone, a driver that answers with nonsense
            fail(error.toString(), error);
        }
    }

    private String choose(boolean wantsFront) throws CameraAccessException, SegmentationException {
        String[] ids = cameras == null ? new String[0] : cameras.getCameraIdList();
        if (ids.length == 0) {
            throw new SegmentationException(
                    SegmentationException.Kind.CAMERA_MISSING, "Android lists no camera on this device");
        }
        for (String id : ids) {
            if (isFront(cameras.getCameraCharacteristics(id)) == wantsFront) {
                return id;
            }
        }
        return ids[0];
    }

    private static boolean isFront(CameraCharacteristics facts) {
        Integer facing = facts.get(CameraCharacteristics.LENS_FACING);
        return facing != null && facing == CameraMetadata.LENS_FACING_FRONT;
    }

    private static ImageReader reader(CameraCharacteristics facts, String id) throws SegmentationException {
        StreamConfigurationMap map = facts.get(CameraCharacteristics.SCALER_STREAM_CONFIGURATION_MAP);
        Size[] offered = map == null ? null : map.getOutputSizes(ImageFormat.YUV_420_888);
        int[][] sizes = new int[offered == null ? 0 : offered.length][];
        for (int i = 0; i < sizes.length; i++) {
            sizes[i] = new int[] {offered[i].getWidth(), offered[i].getHeight()};
        }
        int best = CameraGeometry.choose(sizes);
        if (best < 0) {
            throw new SegmentationException(
                    SegmentationException.Kind.CAMERA_FAILED, "the camera " + id + " gives no YUV_420_888 pictures");
        }
        return ImageReader.newInstance(sizes[best][0], sizes[best][1], ImageFormat.YUV_420_888, IMAGES);
    }

    private void configure(final CameraDevice camera, final ImageReader reader) {
        try {
            camera.createCaptureSession(
                    Collections.singletonList(reader.getSurface()), new CameraCaptureSession.StateCallback() {
                        @Override
                        public void onConfigured(CameraCaptureSession session) {
                            if (lease.hold(session::close)) {
                                start(camera, session, reader);
                            }
                        }

                        @Override
                        public void onConfigureFailed(CameraCaptureSession session) {
                            fail("the camera refused the stream", null);
                        }
                    }, handler);
        } catch (CameraAccessException error) {
            fail(accessReason(error), error);
        } catch (RuntimeException error) { // it was closed or disconnected meanwhile
            fail(error.toString(), error);
        }
    }

    private void start(CameraDevice camera, CameraCaptureSession session, ImageReader reader) {
        try {
            CaptureRequest.Builder request = camera.createCaptureRequest(CameraDevice.TEMPLATE_PREVIEW);
            request.addTarget(reader.getSurface());
            session.setRepeatingRequest(request.build(), null, handler);
        } catch (CameraAccessException error) {
            fail(accessReason(error), error);
        } catch (RuntimeException error) {
            fail(error.toString(), error);
        }
    }

    private void look(ImageReader reader) {
        if (lease.isClosed()) {
            return;
        }
        try (Image image = reader.acquireLatestImage()) {
            if (image == null) {
                return; // an earlier call has taken it
            }
            Image.Plane[] planes = image.getPlanes();
            Rect crop = image.getCropRect();
            frame.copy(plane(planes[0]), plane(planes[1]), plane(planes[2]), crop.left, crop.top, crop.width(),
                    crop.height(), CameraGeometry.upright(sensor, listener.rotation(), front), front);
        } catch (SegmentationException error) {
            end(error);
            return;
        } catch (IllegalStateException closing) {
            return; // the reader was closed between the call and here
        }
        try {
            listener.picture(frame);
        } catch (OutOfMemoryError error) {
            end(new SegmentationException(
                    SegmentationException.Kind.OUT_OF_MEMORY, "not enough memory for the camera's pictures", error));
        } catch (RuntimeException error) { // what nobody catches on this thread ends the app
            end(new SegmentationException(SegmentationException.Kind.RUN_FAILED, error.toString(), error));
        }
    }

    private static YuvFrame.Plane plane(Image.Plane plane) {
        return new YuvFrame.Plane(plane.getBuffer(), plane.getRowStride(), plane.getPixelStride());
    }

    private void fail(String message, Exception cause) {
        end(new SegmentationException(SegmentationException.Kind.CAMERA_FAILED, message, cause));
    }

    /** Told once, and not to a screen that has been left. */
    private void end(SegmentationException error) {
        if (!lease.isClosed()) {
            lease.close();
            listener.failed(error);
        }
    }

    private static String accessReason(CameraAccessException error) {
        switch (error.getReason()) {
            case CameraAccessException.CAMERA_IN_USE:
                return "another app uses the camera";
            case CameraAccessException.MAX_CAMERAS_IN_USE:
                return "too many cameras are in use";
            case CameraAccessException.CAMERA_DISABLED:
                return "the owner of this phone does not allow cameras";
            default:
                return String.valueOf(error.getMessage());
        }
    }

    private static String reason(int error) {
        switch (error) {
            case CameraDevice.StateCallback.ERROR_CAMERA_IN_USE:
                return "another app uses the camera";
            case CameraDevice.StateCallback.ERROR_MAX_CAMERAS_IN_USE:
                return "too many cameras are in use";
            case CameraDevice.StateCallback.ERROR_CAMERA_DISABLED:
                return "the owner of this phone does not allow cameras";
            default:
                return "the camera broke down (error " + error + ")";
        }
    }
}
