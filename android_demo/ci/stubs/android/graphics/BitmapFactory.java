package android.graphics;

public class BitmapFactory {
    public static class Options {
        public boolean inJustDecodeBounds;

        public boolean inPremultiplied;

        public boolean inScaled;

        public android.graphics.Bitmap.Config inPreferredConfig;

        public int outWidth;

        public int outHeight;

        public Options() {
            throw new UnsupportedOperationException("stub");
        }
    }

    public static android.graphics.Bitmap decodeByteArray(byte[] data, int offset, int length, android.graphics.BitmapFactory.Options opts) {
        throw new UnsupportedOperationException("stub");
    }
}
