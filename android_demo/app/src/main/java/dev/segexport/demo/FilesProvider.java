package dev.segexport.demo;

import android.content.ContentProvider;
import android.content.ContentValues;
import android.content.Context;
import android.database.Cursor;
import android.database.MatrixCursor;
import android.net.Uri;
import android.os.ParcelFileDescriptor;
import java.io.File;
import java.io.FileInputStream;
import java.io.FileNotFoundException;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;

/** Two files that other apps may be handed: the photo that the camera app writes, the result that the user shares. */
public final class FilesProvider extends ContentProvider {
    static final String PHOTO = "photo.jpg";
    static final String RESULT = "result.json";
    private static final String AUTHORITY = "dev.segexport.demo.files";

    static Uri uri(String name) {
        return Uri.parse("content://" + AUTHORITY + "/" + name);
    }

    /** Copies {@code file} to where {@link #uri} finds it. */
    static void offer(Context context, File file, String name) throws IOException {
        try (InputStream in = new FileInputStream(file);
                OutputStream out = new FileOutputStream(new File(context.getCacheDir(), name))) {
            byte[] block = new byte[1 << 16];
            for (int count = in.read(block); count >= 0; count = in.read(block)) {
                out.write(block, 0, count);
            }
        }
    }

    private File file(Uri uri) throws FileNotFoundException {
        String name = uri.getLastPathSegment();
        if (!PHOTO.equals(name) && !RESULT.equals(name)) {
            throw new FileNotFoundException(String.valueOf(uri));
        }
        return new File(getContext().getCacheDir(), name);
    }

    @Override
    public ParcelFileDescriptor openFile(Uri uri, String mode) throws FileNotFoundException {
        return ParcelFileDescriptor.open(file(uri), ParcelFileDescriptor.parseMode(mode));
    }

    @Override
    public boolean onCreate() {
        return true;
    }

    @Override
    public String getType(Uri uri) {
        return PHOTO.equals(uri.getLastPathSegment()) ? "image/jpeg" : "application/json";
    }

    /** Name and size, which some apps ask for before they read. */
    @Override
    public Cursor query(Uri uri, String[] columns, String where, String[] values, String order) {
        MatrixCursor cursor = new MatrixCursor(new String[] {"_display_name", "_size"});
        try {
            cursor.addRow(new Object[] {uri.getLastPathSegment(), file(uri).length()});
        } catch (FileNotFoundException unknown) {
            return cursor;
        }
        return cursor;
    }

    @Override
    public Uri insert(Uri uri, ContentValues values) {
        throw new UnsupportedOperationException();
    }

    @Override
    public int update(Uri uri, ContentValues values, String where, String[] arguments) {
        throw new UnsupportedOperationException();
    }

    @Override
    public int delete(Uri uri, String where, String[] arguments) {
        throw new UnsupportedOperationException();
    }
}
