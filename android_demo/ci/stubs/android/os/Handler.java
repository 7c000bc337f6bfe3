package android.os;

public class Handler {
    public Handler(android.os.Looper looper) {
        throw new UnsupportedOperationException("stub");
    }

    public final boolean post(Runnable r) {
        throw new UnsupportedOperationException("stub");
    }
}
