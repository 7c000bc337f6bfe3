package android.graphics;

public class Canvas {
    public int getWidth() {
        throw new UnsupportedOperationException("stub");
    }

    public int getHeight() {
        throw new UnsupportedOperationException("stub");
    }

    public void drawColor(int color) {
        throw new UnsupportedOperationException("stub");
    }

    public void drawBitmap(Bitmap bitmap, Rect src, Rect dst, Paint paint) {
        throw new UnsupportedOperationException("stub");
    }
}
