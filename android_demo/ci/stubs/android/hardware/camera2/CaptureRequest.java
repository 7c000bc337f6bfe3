package android.hardware.camera2;

public final class CaptureRequest {
    CaptureRequest() {}

    public static final class Builder {
        Builder() {}

        public void addTarget(android.view.Surface outputTarget) {
            throw new UnsupportedOperationException("stub");
        }

        public CaptureRequest build() {
            throw new UnsupportedOperationException("stub");
        }
    }
}
