package android.content;

public class ContextWrapper extends android.content.Context {
    public ContextWrapper(android.content.Context base) {
        throw new UnsupportedOperationException("stub");
    }

    public android.content.res.AssetManager getAssets() {
        throw new UnsupportedOperationException("stub");
    }

    public android.content.ContentResolver getContentResolver() {
        throw new UnsupportedOperationException("stub");
    }

    public android.content.Context getApplicationContext() {
        throw new UnsupportedOperationException("stub");
    }

    public java.io.File getCacheDir() {
        throw new UnsupportedOperationException("stub");
    }

    public java.io.File getExternalFilesDir(String type) {
        throw new UnsupportedOperationException("stub");
    }

    public int checkSelfPermission(String permission) {
        throw new UnsupportedOperationException("stub");
    }

    public void startActivity(android.content.Intent intent) {
        throw new UnsupportedOperationException("stub");
    }
}
