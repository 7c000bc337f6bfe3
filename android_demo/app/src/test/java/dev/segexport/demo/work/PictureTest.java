package dev.segexport.demo.work;

import static org.junit.Assert.assertEquals;
import static org.junit.Assert.assertFalse;
import static org.junit.Assert.assertNull;
import static org.junit.Assert.assertThrows;
import static org.junit.Assert.assertTrue;

import dev.segexport.core.ArgbPixels;
import dev.segexport.core.ImageDecoder;
import dev.segexport.core.Pixels;
import dev.segexport.core.SegmentationException;
import java.io.ByteArrayInputStream;
import java.io.File;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.lang.ref.WeakReference;
import org.junit.Rule;
import org.junit.Test;
import org.junit.rules.TemporaryFolder;

public class PictureTest {
    @Rule
    public final TemporaryFolder folder = new TemporaryFolder();

    /** An image is one byte, its width. */
    private final ImageDecoder decoder = in -> {
        int width = in.read();
        if (width < 1) {
            throw new SegmentationException(SegmentationException.Kind.BAD_IMAGE, "not an image");
        }
        return new ArgbPixels(new int[width], width, 1);
    };

    private static InputStream image(int... bytes) {
        byte[] data = new byte[bytes.length];
        for (int i = 0; i < data.length; i++) {
            data[i] = (byte) bytes[i];
        }
        return new ByteArrayInputStream(data);
    }

    @Test
    public void isDecodedAgainWhenItIsNeededAndKeepsNoPixels() throws Exception {
        Picture picture = new Picture(folder.newFile("picture"), decoder);
        assertFalse("of an earlier run", picture.exists());
        WeakReference<Pixels> pixels = new WeakReference<>(picture.replace(image(7)));
        for (int i = 0; i < 100 && pixels.get() != null; i++) {
            System.gc();
            Thread.sleep(10);
        }
        assertNull("the pixels are still held", pixels.get());
        assertEquals(7, picture.decode().width());
    }

    @Test
    public void theOneBeforeStaysIfTheNextCannotBeRead() throws Exception {
        Picture picture = new Picture(new File(folder.getRoot(), "picture"), decoder);
        picture.replace(image(7));
        assertThrows(SegmentationException.class, () -> picture.replace(image(0)));
        InputStream breaks = new InputStream() {
            @Override
            public int read() throws IOException {
                throw new IOException("the provider is gone");
            }
        };
        assertThrows(IOException.class, () -> picture.replace(breaks));
        assertEquals(7, picture.decode().width());
        assertEquals(1, folder.getRoot().list().length);
    }

    @Test
    public void aFileWithoutEndIsRefused() {
        Picture picture = new Picture(new File(folder.getRoot(), "picture"), decoder);
        InputStream endless = new InputStream() {
            @Override
            public int read() {
                return 1;
            }

            @Override
            public int read(byte[] into, int from, int count) {
                return count;
            }
        };
        SegmentationException error = assertThrows(SegmentationException.class, () -> picture.replace(endless));
        assertEquals("the file is larger than 64 MB", error.getMessage());
        assertFalse(picture.exists());
    }

    @Test
    public void aCameraAppThatWritesNothingIsFound() throws Exception {
        File file = folder.newFile();
        try (FileOutputStream out = new FileOutputStream(file)) {
            out.write(1);
        }
        CameraPhoto photo = new CameraPhoto(file);
        assertTrue(photo.taken().length() == 1);
        photo.ask();
        SegmentationException error = assertThrows(SegmentationException.class, photo::taken);
        assertEquals(SegmentationException.Kind.BAD_IMAGE, error.kind());
        assertTrue(file.createNewFile());
        assertEquals("the camera app wrote no photo",
                assertThrows(SegmentationException.class, photo::taken).getMessage());
    }
}
