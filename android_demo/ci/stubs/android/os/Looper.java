package android.os;

public final class Looper {
    Looper() {}

    public static android.os.Looper getMainLooper() {
        throw new UnsupportedOperationException("stub");
    }
}
