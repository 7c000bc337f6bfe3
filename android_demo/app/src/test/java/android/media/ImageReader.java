package android.media;

import android.graphics.Rect;
import android.hardware.camera2.CameraManager;
import java.nio.ByteBuffer;
import java.util.Arrays;

/** A double that makes grey images whose first pixel is white, of I420 planes whose rows are padded. */
public class ImageReader implements AutoCloseable {
    public interface OnImageAvailableListener {
        void onImageAvailable(ImageReader reader);
    }

    private static final int PADDING = 8;
    public static ImageReader last;

    public final int width;
    public final int height;
    /** How many images wait; a camera fills more before the first is looked at. */
    public int waiting;
    /** A driver's mistake: the planes are too short. */
    public boolean damaged;
    private OnImageAvailableListener listener;
    private boolean closed;

    ImageReader(int width, int height) {
        this.width = width;
        this.height = height;
        last = this;
        CameraManager.open.add("reader");
    }

    public static ImageReader newInstance(int width, int height, int format, int maxImages) {
        return new ImageReader(width, height);
    }

    /** The camera has taken another picture. */
    public void fill() {
        waiting++;
        CameraManager.later.add(() -> listener.onImageAvailable(this));
    }

    public android.view.Surface getSurface() {
        return null;
    }

    /** The newest; the others are dropped. */
    public Image acquireLatestImage() {
        if (closed) {
            throw new IllegalStateException("ImageReader is closed");
        }
        if (waiting == 0) {
            return null;
        }
        waiting = 0;
        CameraManager.open.add("image");
        return new Image() {
            @Override
            public Plane[] getPlanes() {
                return new Plane[] {
                    plane(width, height, 255), plane(width / 2, height / 2, 128), plane(width / 2, height / 2, 128)
                };
            }

            @Override
            public Rect getCropRect() {
                return new Rect(0, 0, width, height);
            }

            @Override
            public void close() {
                CameraManager.open.remove("image");
            }
        };
    }

    private Image.Plane plane(int columns, int rows, int first) {
        byte[] grey = new byte[(columns + PADDING) * rows - PADDING - (damaged ? 1 : 0)];
        Arrays.fill(grey, (byte) 128);
        grey[0] = (byte) first;
        return new Image.Plane() {
            @Override
            public int getRowStride() {
                return columns + PADDING;
            }

            @Override
            public int getPixelStride() {
                return 1;
            }

            @Override
            public ByteBuffer getBuffer() {
                return ByteBuffer.wrap(grey);
            }
        };
    }

    public void setOnImageAvailableListener(OnImageAvailableListener listener, android.os.Handler handler) {
        this.listener = listener;
    }

    @Override
    public void close() {
        closed = true;
        CameraManager.open.remove("reader");
    }
}
