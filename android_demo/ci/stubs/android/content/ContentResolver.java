package android.content;

public abstract class ContentResolver {
    public ContentResolver(android.content.Context context) {
        throw new UnsupportedOperationException("stub");
    }

    public final java.io.InputStream openInputStream(android.net.Uri uri) throws java.io.FileNotFoundException {
        throw new UnsupportedOperationException("stub");
    }
}
