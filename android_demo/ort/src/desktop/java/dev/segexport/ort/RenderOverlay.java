package dev.segexport.ort;

import dev.segexport.core.ImageIoDecoder;
import dev.segexport.core.Manifest;
import dev.segexport.core.Mask;
import dev.segexport.core.Overlay;
import dev.segexport.core.Pack;
import dev.segexport.core.Packs;
import dev.segexport.core.Pixels;
import dev.segexport.core.Postprocess;
import dev.segexport.core.Segmentation;
import dev.segexport.core.Segmenter;
import dev.segexport.core.Thumbnail;
import java.awt.image.BufferedImage;
import java.io.File;
import java.io.FileInputStream;
import java.io.InputStream;
import javax.imageio.ImageIO;

/** The picture and its overlay side by side, as the app draws them: RenderOverlay PACK IMAGE OUT.png. */
public final class RenderOverlay {
    private static final int OPACITY = 128;
    private static final int GAP = 4;
    private static final int ZOOM = 3;

    private RenderOverlay() {}

    public static void main(String[] arguments) throws Exception {
        File folder = new File(arguments[0]);
        Manifest manifest = Packs.manifest(new Pack.Folder(folder));
        Pixels image;
        try (InputStream in = new FileInputStream(arguments[1])) {
            image = new ImageIoDecoder().decode(in);
        }
        Thumbnail shown = Thumbnail.of(image, 1280);
        try (Segmenter segmenter =
                Segmenter.open(new OrtBackend(), new File(folder, manifest.modelFile), manifest, 1)) {
            Segmentation answer = segmenter.segment(image);
            Mask mask = Postprocess.restore(answer.mask, answer.placement, shown.width, shown.height);
            int[] blended = Overlay.blend(shown.argb, mask, Overlay.palette(manifest), OPACITY);
            BufferedImage both =
                    new BufferedImage(2 * shown.width + GAP, shown.height, BufferedImage.TYPE_INT_RGB);
            java.util.Arrays.fill(
                    ((java.awt.image.DataBufferInt) both.getRaster().getDataBuffer()).getData(), 0xFFFFFF);
            both.setRGB(0, 0, shown.width, shown.height, shown.argb, 0, shown.width);
            both.setRGB(shown.width + GAP, 0, shown.width, shown.height, blended, 0, shown.width);
            BufferedImage large = new BufferedImage(
                    ZOOM * both.getWidth(), ZOOM * both.getHeight(), BufferedImage.TYPE_INT_RGB);
            large.createGraphics().drawImage(both, 0, 0, large.getWidth(), large.getHeight(), null);
            ImageIO.write(large, "png", new File(arguments[2]));
        }
    }
}
