package android.media;

public class ImageReader implements AutoCloseable {
    ImageReader() {}

    public interface OnImageAvailableListener {
        void onImageAvailable(ImageReader reader);
    }

    public static ImageReader newInstance(int width, int height, int format, int maxImages) {
        throw new UnsupportedOperationException("stub");
    }

    public android.view.Surface getSurface() {
        throw new UnsupportedOperationException("stub");
    }

    public Image acquireLatestImage() {
        throw new UnsupportedOperationException("stub");
    }

    public void setOnImageAvailableListener(OnImageAvailableListener listener, android.os.Handler handler) {
        throw new UnsupportedOperationException("stub");
    }

    @Override
    public void close() {
        throw new UnsupportedOperationException("stub");
    }
}
