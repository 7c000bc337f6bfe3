package dev.segexport.demo.work;

import dev.segexport.core.ImageDecoder;
import dev.segexport.core.Pixels;
import dev.segexport.core.SegmentationException;
import java.io.File;
import java.io.FileInputStream;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;

/**
 * The picture that is worked on. Only its file is kept, on disk, and is decoded where it is needed: pixels of full size
 * (12 megapixels are 48 MB) live no longer than the work that reads them.
 */
public final class Picture {
    private static final long MAX_FILE_BYTES = 64 << 20;

    private final File file;
    private final ImageDecoder decoder;

    /** @param file where the picture is kept; one of an earlier run of the app is dropped */
    public Picture(File file, ImageDecoder decoder) {
        this.file = file;
        this.decoder = decoder;
        file.delete();
    }

    public boolean exists() {
        return file.isFile();
    }

    /**
     * Takes another picture, and decodes it. The one before stays if this one cannot be read.
     *
     * @throws SegmentationException BAD_IMAGE, OUT_OF_MEMORY
     */
    public Pixels replace(InputStream in) throws SegmentationException, IOException {
        File next = new File(file.getPath() + ".part");
        try {
            copy(in, next);
            Pixels pixels = decode(next);
            if (!next.renameTo(file)) {
                throw new IOException(file.getName() + " cannot be written");
            }
            return pixels;
        } finally {
            next.delete();
        }
    }

    public Pixels decode() throws SegmentationException, IOException {
        return decode(file);
    }

    private Pixels decode(File from) throws SegmentationException, IOException {
        try (InputStream in = new FileInputStream(from)) {
            return decoder.decode(in);
        }
    }

    private static void copy(InputStream in, File to) throws SegmentationException, IOException {
        try (OutputStream out = new FileOutputStream(to)) {
            byte[] block = new byte[1 << 16];
            long bytes = 0;
            for (int count = in.read(block); count >= 0; count = in.read(block)) {
                bytes += count;
                if (bytes > MAX_FILE_BYTES) {
                    throw new SegmentationException(
                            SegmentationException.Kind.BAD_IMAGE,
                            "the file is larger than " + (MAX_FILE_BYTES >> 20) + " MB");
                }
                out.write(block, 0, count);
            }
        }
    }
}
