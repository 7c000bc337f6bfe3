package android.os;

/** Values that the compiler must not take for constants: they are read on the phone. */
final class Stub {
    private Stub() {}

    static int number() {
        return 0;
    }

    static String text() {
        return "";
    }

    static String[] texts() {
        return new String[0];
    }
}
