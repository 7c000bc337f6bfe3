package dev.segexport.demo;

import android.graphics.Bitmap;
import android.graphics.Canvas;
import android.graphics.Paint;
import android.graphics.Rect;
import android.view.SurfaceHolder;
import dev.segexport.core.ArgbPixels;
import dev.segexport.core.LiveStream;
import dev.segexport.core.SegmentationException;
import dev.segexport.core.YuvFrame;
import dev.segexport.demo.work.CameraGeometry;

/** Draws each picture of the camera with the stream's last answer over it; on the camera's thread. */
final class LivePreview implements SurfaceHolder.Callback {
    /** What a portrait is put before: the green of a studio. */
    private static final int BACKGROUND = 0x00B140;
    private static final int BLACK = 0xFF000000;

    private final Paint smooth = new Paint(Paint.FILTER_BITMAP_FLAG);
    /** Guards {@link #surface}: it is not destroyed while it is drawn on. */
    private final Object turn = new Object();
    private SurfaceHolder surface;
    private ArgbPixels alone = new ArgbPixels(new int[0], 0, 0);
    private int[] blended = new int[0];
    private Bitmap bitmap;

    @Override
    public void surfaceCreated(SurfaceHolder holder) {
        synchronized (turn) {
            surface = holder;
        }
    }

    @Override
    public void surfaceChanged(SurfaceHolder holder, int format, int width, int height) {}

    /** Waits for the picture that is being drawn; after it, none is. */
    @Override
    public void surfaceDestroyed(SurfaceHolder holder) {
        synchronized (turn) {
            surface = null;
        }
    }

    /**
     * Draws a picture, and offers it to the stream.
     *
     * @param stream null while the model is loaded
     */
    void draw(YuvFrame frame, LiveStream stream, int opacity) {
        int width = frame.width();
        int height = frame.height();
        ArgbPixels picture = stream == null ? alone(width, height) : stream.blank(width, height);
        frame.read(0, 0, width, height, picture.argb());
        int[] shown = picture.argb();
        if (stream != null) {
            blended = blended.length == shown.length ? blended : new int[shown.length];
            stream.draw(picture, opacity, BACKGROUND, blended);
            shown = blended;
            stream.offer(picture);
        }
        if (bitmap == null || bitmap.getWidth() != width || bitmap.getHeight() != height) {
            bitmap = Bitmap.createBitmap(width, height, Bitmap.Config.ARGB_8888);
        }
        bitmap.setPixels(shown, 0, width, 0, 0, width, height);
        show(width, height);
    }

    private ArgbPixels alone(int width, int height) {
        if (alone.width() != width || alone.height() != height) {
            alone = new ArgbPixels(new int[width * height], width, height);
        }
        return alone;
    }

    private void show(int width, int height) {
        synchronized (turn) {
            Canvas canvas = surface == null ? null : surface.lockCanvas();
            if (canvas == null) {
                return;
            }
            try {
                int[] place = CameraGeometry.fitted(width, height, canvas.getWidth(), canvas.getHeight());
                canvas.drawColor(BLACK);
                canvas.drawBitmap(bitmap, new Rect(0, 0, width, height),
                        new Rect(place[0], place[1], place[2], place[3]), smooth);
            } finally {
                surface.unlockCanvasAndPost(canvas);
            }
        }
    }
}
