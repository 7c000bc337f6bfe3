package dev.segexport.ort;

import dev.segexport.core.ArgbPixels;
import dev.segexport.core.ImageIoDecoder;
import dev.segexport.core.LiveStream;
import dev.segexport.core.Manifest;
import dev.segexport.core.Mask;
import dev.segexport.core.Matte;
import dev.segexport.core.Overlay;
import dev.segexport.core.Pack;
import dev.segexport.core.Packs;
import dev.segexport.core.Percentiles;
import dev.segexport.core.Pixels;
import dev.segexport.core.Postprocess;
import dev.segexport.core.Segmentation;
import dev.segexport.core.Segmenter;
import dev.segexport.core.VideoSmoother;
import dev.segexport.core.YuvFrame;
import java.io.File;
import java.io.FileInputStream;
import java.io.InputStream;
import java.nio.ByteBuffer;

/**
 * What a live picture costs, stage by stage, in milliseconds: TimeLive PACK IMAGE ROTATION RUNS. The image becomes the
 * NV21 frame of a camera; each run is one frame from its planes to what is shown.
 */
public final class TimeLive {
    private static final int OPACITY = 128, BACKGROUND = 0x00B140;
    private static final String[] STAGES = {"yuv", "preprocess", "inference", "mask", "overlay"};

    private TimeLive() {}

    public static void main(String[] arguments) throws Exception {
        File folder = new File(arguments[0]);
        Manifest manifest = Packs.manifest(new Pack.Folder(folder));
        Pixels image;
        try (InputStream in = new FileInputStream(arguments[1])) {
            image = new ImageIoDecoder().decode(in);
        }
        int rotation = Integer.parseInt(arguments[2]);
        int runs = Integer.parseInt(arguments[3]);
        ByteBuffer[] planes = nv21(image);
        double[][] ms = new double[STAGES.length][runs];
        boolean portrait = LiveStream.isPortrait(manifest);
        try (Segmenter segmenter = Segmenter.open(new OrtBackend(), new File(folder, manifest.modelFile), manifest, 1)) {
            YuvFrame frame = new YuvFrame();
            VideoSmoother smoother = new VideoSmoother();
            int[] palette = Overlay.palette(manifest);
            ArgbPixels picture = null;
            int[] shown = new int[image.width() * image.height()];
            for (int run = -runs / 2; run < runs; run++) { // the first ones warm the compiler up
                long started = System.nanoTime();
                frame.copy(new YuvFrame.Plane(planes[0], image.width(), 1),
                        new YuvFrame.Plane(planes[1], image.width(), 2), new YuvFrame.Plane(planes[2], image.width(), 2),
                        0, 0, image.width(), image.height(), rotation, false);
                if (picture == null) {
                    picture = new ArgbPixels(new int[shown.length], frame.width(), frame.height());
                }
                frame.read(0, 0, frame.width(), frame.height(), picture.argb());
                long read = System.nanoTime();
                long answered;
                double preprocess;
                double inference;
                if (portrait) { // its preprocessing and smoothing are one call
                    Matte matte = segmenter.follow(picture, smoother);
                    float[] alpha = matte.restored();
                    answered = System.nanoTime();
                    preprocess = 0;
                    inference = matte.inferenceMs;
                    Overlay.replace(picture.argb(), alpha, BACKGROUND, OPACITY, shown);
                } else {
                    Segmentation answer = segmenter.segment(picture);
                    Mask mask = Postprocess.restore(answer.mask, answer.placement);
                    answered = System.nanoTime();
                    preprocess = answer.preprocessMs;
                    inference = answer.inferenceMs;
                    Overlay.blend(picture.argb(), mask, palette, OPACITY, shown);
                }
                long drawn = System.nanoTime();
                if (run >= 0) {
                    ms[0][run] = (read - started) / 1e6;
                    ms[1][run] = preprocess;
                    ms[2][run] = inference;
                    ms[3][run] = (answered - read) / 1e6 - preprocess - inference;
                    ms[4][run] = (drawn - answered) / 1e6;
                }
            }
        }
        StringBuilder json = new StringBuilder();
        for (int stage = 0; stage < STAGES.length; stage++) {
            json.append(json.length() == 0 ? "{" : ", ").append(String.format(java.util.Locale.ROOT,
                    "\"%s_ms\": {\"p10\": %.3f, \"p50\": %.3f}", STAGES[stage], Percentiles.of(ms[stage], 10),
                    Percentiles.of(ms[stage], 50)));
        }
        System.out.println(json.append("}"));
    }

    /** Y, U and V: direct buffers, as a phone's; U and V are views of the same memory. */
    private static ByteBuffer[] nv21(Pixels image) {
        int width = image.width() & ~1;
        int height = image.height() & ~1;
        int[] argb = new int[image.width() * image.height()];
        image.read(0, 0, image.width(), image.height(), argb);
        ByteBuffer luma = ByteBuffer.allocateDirect(argb.length);
        ByteBuffer chroma = ByteBuffer.allocateDirect(width * height / 2);
        for (int y = 0; y < height; y++) {
            for (int x = 0; x < width; x++) {
                int pixel = argb[y * image.width() + x];
                double red = pixel >> 16 & 255;
                double green = pixel >> 8 & 255;
                double blue = pixel & 255;
                luma.put(y * image.width() + x, level(0.299 * red + 0.587 * green + 0.114 * blue));
                if (x % 2 == 0 && y % 2 == 0) {
                    int at = y / 2 * width + x;
                    chroma.put(at, level(128 + 0.5 * red - 0.418688 * green - 0.081312 * blue));
                    chroma.put(at + 1, level(128 - 0.168736 * red - 0.331264 * green + 0.5 * blue));
                }
            }
        }
        ByteBuffer v = chroma.duplicate();
        v.limit(v.capacity() - 1);
        ByteBuffer u = chroma.duplicate();
        u.position(1);
        return new ByteBuffer[] {luma, u.slice(), v};
    }

    private static byte level(double value) {
        return (byte) Math.max(0, Math.min(255, Math.round(value)));
    }
}
