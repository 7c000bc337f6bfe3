package android.graphics;

public final class Rect {
    public int left;
    public int top;

    public Rect(int left, int top, int right, int bottom) {
        throw new UnsupportedOperationException("stub");
    }

    public int width() {
        throw new UnsupportedOperationException("stub");
    }

    public int height() {
        throw new UnsupportedOperationException("stub");
    }
}
