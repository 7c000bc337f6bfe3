package dev.segexport.core;

import java.io.IOException;
import java.io.InputStream;

/** From an image file to pixels: EXIF orientation applied, alpha dropped, grey repeated. */
public interface ImageDecoder {
    /** @throws SegmentationException BAD_IMAGE, OUT_OF_MEMORY */
    Pixels decode(InputStream in) throws IOException, SegmentationException;
}
