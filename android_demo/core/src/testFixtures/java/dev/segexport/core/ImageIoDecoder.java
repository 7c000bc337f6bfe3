package dev.segexport.core;

import java.awt.image.BufferedImage;
import java.io.IOException;
import java.io.InputStream;
import javax.imageio.ImageIO;

/** What BitmapFactory is on a phone. */
public final class ImageIoDecoder implements ImageDecoder {
    @Override
    public Pixels decode(InputStream in) throws IOException, SegmentationException {
        BufferedImage image = ImageIO.read(in);
        if (image == null) {
            throw new SegmentationException(SegmentationException.Kind.BAD_IMAGE, "not an image");
        }
        int width = image.getWidth();
        int height = image.getHeight();
        if (image.getRaster().getNumBands() == 1) { // getRGB would apply a gamma to grey
            int[] grey = image.getRaster().getSamples(0, 0, width, height, 0, (int[]) null);
            for (int i = 0; i < grey.length; i++) {
                grey[i] *= 0x010101;
            }
            return new ArgbPixels(grey, width, height);
        }
        return new ArgbPixels(image.getRGB(0, 0, width, height, null, 0, width), width, height);
    }
}
