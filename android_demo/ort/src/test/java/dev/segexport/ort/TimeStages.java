package dev.segexport.ort;

import dev.segexport.core.ImageIoDecoder;
import dev.segexport.core.Manifest;
import dev.segexport.core.Pack;
import dev.segexport.core.Packs;
import dev.segexport.core.Percentiles;
import dev.segexport.core.Pixels;
import dev.segexport.core.Postprocess;
import dev.segexport.core.Segmentation;
import dev.segexport.core.Segmenter;
import java.io.File;
import java.io.FileInputStream;
import java.io.InputStream;

/** Medians in milliseconds of each stage, in one run: TimeStages PACK IMAGE RUNS. */
public final class TimeStages {
    private TimeStages() {}

    public static void main(String[] arguments) throws Exception {
        File folder = new File(arguments[0]);
        Manifest manifest = Packs.manifest(new Pack.Folder(folder));
        Pixels image;
        try (InputStream in = new FileInputStream(arguments[1])) {
            image = new ImageIoDecoder().decode(in);
        }
        int runs = Integer.parseInt(arguments[2]);
        double[][] ms = new double[4][runs];
        try (Segmenter segmenter =
                Segmenter.open(new OrtBackend(), new File(folder, manifest.modelFile), manifest, 1)) {
            for (int run = -runs / 2; run < runs; run++) { // the first ones warm the compiler up
                Segmentation answer = segmenter.segment(image);
                long started = System.nanoTime();
                Postprocess.restore(answer.mask, answer.placement);
                double restore = (System.nanoTime() - started) / 1e6;
                if (run >= 0) {
                    ms[0][run] = answer.preprocessMs;
                    ms[1][run] = answer.inferenceMs;
                    ms[2][run] = answer.postprocessMs;
                    ms[3][run] = restore;
                }
            }
        }
        System.out.printf(
                "{\"image\": \"%dx%d\", \"preprocess_ms\": %.3f, \"inference_ms\": %.3f, \"argmax_ms\": %.3f,"
                        + " \"restore_ms\": %.3f}%n",
                image.width(), image.height(), Percentiles.of(ms[0], 50), Percentiles.of(ms[1], 50),
                Percentiles.of(ms[2], 50), Percentiles.of(ms[3], 50));
    }
}
