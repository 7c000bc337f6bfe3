package android.net;

public abstract class Uri implements android.os.Parcelable {
    Uri() {}

    public static android.net.Uri parse(String uriString) {
        throw new UnsupportedOperationException("stub");
    }

    public abstract String getLastPathSegment();
}
