package android.os;

public class BaseBundle {
    BaseBundle() {}

    public void putBoolean(String key, boolean value) {
        throw new UnsupportedOperationException("stub");
    }

    public boolean getBoolean(String key) {
        throw new UnsupportedOperationException("stub");
    }
}
