package android.os;

public class Build {
    public static class VERSION {
        public static final String RELEASE = Stub.text();

        public static final int SDK_INT = Stub.number();
    }

    public static final String MANUFACTURER = Stub.text();

    public static final String MODEL = Stub.text();

    public static final String BOARD = Stub.text();

    public static final String[] SUPPORTED_ABIS = Stub.texts();
}
