package android.os;

public class ParcelFileDescriptor implements android.os.Parcelable {
    ParcelFileDescriptor() {}

    public static android.os.ParcelFileDescriptor open(java.io.File file, int mode) throws java.io.FileNotFoundException {
        throw new UnsupportedOperationException("stub");
    }

    public static int parseMode(String mode) {
        throw new UnsupportedOperationException("stub");
    }
}
