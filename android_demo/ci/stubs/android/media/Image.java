package android.media;

public abstract class Image implements AutoCloseable {
    Image() {}

    public abstract static class Plane {
        Plane() {}

        public abstract int getRowStride();

        public abstract int getPixelStride();

        public abstract java.nio.ByteBuffer getBuffer();
    }

    public abstract Plane[] getPlanes();

    public android.graphics.Rect getCropRect() {
        throw new UnsupportedOperationException("stub");
    }

    @Override
    public abstract void close();
}
