package android.graphics;

public final class Bitmap implements android.os.Parcelable {
    Bitmap() {}

    public enum Config {
        ARGB_8888
    }

    public static android.graphics.Bitmap createBitmap(int[] colors, int width, int height, android.graphics.Bitmap.Config config) {
        throw new UnsupportedOperationException("stub");
    }

    public static android.graphics.Bitmap createBitmap(int width, int height, android.graphics.Bitmap.Config config) {
        throw new UnsupportedOperationException("stub");
    }

    public void setPixels(int[] pixels, int offset, int stride, int x, int y, int width, int height) {
        throw new UnsupportedOperationException("stub");
    }

    public int getWidth() {
        throw new UnsupportedOperationException("stub");
    }

    public int getHeight() {
        throw new UnsupportedOperationException("stub");
    }

    public void getPixels(int[] pixels, int offset, int stride, int x, int y, int width, int height) {
        throw new UnsupportedOperationException("stub");
    }
}
