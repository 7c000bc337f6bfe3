package dev.segexport.demo;

import android.graphics.Bitmap;
import android.graphics.BitmapFactory;
import android.media.ExifInterface;
import dev.segexport.core.ImageDecoder;
import dev.segexport.core.OrientedPixels;
import dev.segexport.core.Pixels;
import dev.segexport.core.SegmentationException;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;

/** Decodes as the contract wants it: upright, colours not multiplied by alpha, full resolution. */
final class BitmapDecoder implements ImageDecoder {
    private static final int MAX_FILE_BYTES = 64 << 20;
    private static final long MAX_PIXELS = 64000000;

    @Override
    public Pixels decode(InputStream in) throws IOException, SegmentationException {
        try {
            byte[] file = read(in);
            BitmapFactory.Options options = new BitmapFactory.Options();
            options.inJustDecodeBounds = true;
            BitmapFactory.decodeByteArray(file, 0, file.length, options);
            if ((long) options.outWidth * options.outHeight > MAX_PIXELS) {
                throw bad("the image is too large, " + options.outWidth + "x" + options.outHeight + " pixels");
            }
            options.inJustDecodeBounds = false;
            options.inPremultiplied = false;
            options.inScaled = false;
            options.inPreferredConfig = Bitmap.Config.ARGB_8888;
            Bitmap bitmap = BitmapFactory.decodeByteArray(file, 0, file.length, options);
            if (bitmap == null) {
                throw bad("not an image that this phone can decode");
            }
            return OrientedPixels.of(new BitmapPixels(bitmap), orientation(file));
        } catch (OutOfMemoryError error) {
            throw new SegmentationException(
                    SegmentationException.Kind.OUT_OF_MEMORY, "not enough memory for an image of this size", error);
        }
    }

    private static int orientation(byte[] file) {
        try {
            return new ExifInterface(new ByteArrayInputStream(file))
                    .getAttributeInt(ExifInterface.TAG_ORIENTATION, ExifInterface.ORIENTATION_NORMAL);
        } catch (IOException | RuntimeException broken) {
            return ExifInterface.ORIENTATION_NORMAL; // a camera's broken EXIF block must not cost the picture
        }
    }

    private static byte[] read(InputStream in) throws IOException, SegmentationException {
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        byte[] block = new byte[1 << 16];
        for (int count = in.read(block); count >= 0; count = in.read(block)) {
            bytes.write(block, 0, count);
            if (bytes.size() > MAX_FILE_BYTES) {
                throw bad("the file is larger than " + (MAX_FILE_BYTES >> 20) + " MB");
            }
        }
        return bytes.toByteArray();
    }

    private static SegmentationException bad(String message) {
        return new SegmentationException(SegmentationException.Kind.BAD_IMAGE, message);
    }

    private static final class BitmapPixels implements Pixels {
        private final Bitmap bitmap;

        BitmapPixels(Bitmap bitmap) {
            this.bitmap = bitmap;
        }

        @Override
        public int width() {
            return bitmap.getWidth();
        }

        @Override
        public int height() {
            return bitmap.getHeight();
        }

        @Override
        public void read(int x, int y, int width, int height, int[] argb) {
            bitmap.getPixels(argb, 0, width, x, y, width, height);
        }
    }
}
