package android.content;

public abstract class Context {
    public Context() {
        throw new UnsupportedOperationException("stub");
    }

    public abstract android.content.res.AssetManager getAssets();

    public abstract android.content.ContentResolver getContentResolver();

    public abstract android.content.Context getApplicationContext();

    public abstract java.io.File getCacheDir();

    public abstract java.io.File getExternalFilesDir(String type);

    public abstract void startActivity(android.content.Intent intent);

    public abstract int checkSelfPermission(String permission);

    public final <T> T getSystemService(Class<T> serviceClass) {
        throw new UnsupportedOperationException("stub");
    }

    public final String getString(int resId) {
        throw new UnsupportedOperationException("stub");
    }

    public final String getString(int resId, Object... formatArgs) {
        throw new UnsupportedOperationException("stub");
    }
}
