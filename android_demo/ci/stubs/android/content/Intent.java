package android.content;

public class Intent implements android.os.Parcelable {
    public static final String ACTION_GET_CONTENT = "android.intent.action.GET_CONTENT";

    public static final String ACTION_SEND = "android.intent.action.SEND";

    public static final String CATEGORY_OPENABLE = "android.intent.category.OPENABLE";

    public static final String EXTRA_STREAM = "android.intent.extra.STREAM";

    public static final int FLAG_GRANT_READ_URI_PERMISSION = 1;

    public static final int FLAG_GRANT_WRITE_URI_PERMISSION = 2;

    public Intent(String action) {
        throw new UnsupportedOperationException("stub");
    }

    public Intent(android.content.Context packageContext, Class<?> cls) {
        throw new UnsupportedOperationException("stub");
    }

    public static android.content.Intent createChooser(android.content.Intent target, CharSequence title) {
        throw new UnsupportedOperationException("stub");
    }

    public android.content.Intent addCategory(String category) {
        throw new UnsupportedOperationException("stub");
    }

    public android.content.Intent addFlags(int flags) {
        throw new UnsupportedOperationException("stub");
    }

    public android.content.Intent setType(String type) {
        throw new UnsupportedOperationException("stub");
    }

    public android.content.Intent putExtra(String name, android.os.Parcelable value) {
        throw new UnsupportedOperationException("stub");
    }

    public String getStringExtra(String name) {
        throw new UnsupportedOperationException("stub");
    }

    public android.net.Uri getData() {
        throw new UnsupportedOperationException("stub");
    }
}
