package dev.segexport.demo.work;

import dev.segexport.core.SegmentationException;
import java.io.File;
import java.io.IOException;

/** The file that the phone's camera app is asked to write. Some say that they did and write nothing. */
public final class CameraPhoto {
    private final File file;

    public CameraPhoto(File file) {
        this.file = file;
    }

    /** Removes the photo before, so that it cannot be taken for the next one. */
    public void ask() throws IOException {
        if (file.exists() && !file.delete()) {
            throw new IOException("the photo before cannot be removed");
        }
    }

    /** @throws SegmentationException BAD_IMAGE: the camera app wrote nothing */
    public File taken() throws SegmentationException {
        if (file.length() == 0) {
            throw new SegmentationException(
                    SegmentationException.Kind.BAD_IMAGE, "the camera app wrote no photo");
        }
        return file;
    }
}
