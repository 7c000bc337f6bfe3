package android.media;

public abstract class Image implements AutoCloseable {
    public abstract static class Plane {
        public abstract int getRowStride();

        public abstract int getPixelStride();

        public abstract java.nio.ByteBuffer getBuffer();
    }

    public abstract Plane[] getPlanes();

    public android.graphics.Rect getCropRect() {
        throw new UnsupportedOperationException();
    }

    @Override
    public abstract void close();
}
