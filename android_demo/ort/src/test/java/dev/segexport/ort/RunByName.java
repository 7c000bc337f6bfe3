package dev.segexport.ort;

import dev.segexport.core.ArgbPixels;
import dev.segexport.core.Backend;
import dev.segexport.core.Manifest;
import dev.segexport.core.Pack;
import dev.segexport.core.Packs;
import dev.segexport.core.Segmentation;
import dev.segexport.core.Segmenter;
import java.io.File;
import java.util.Arrays;

/** Finds a backend by its class's name, as an app does, and segments a made picture: RunByName CLASS FOLDER. */
public final class RunByName {
    private RunByName() {}

    public static void main(String[] arguments) throws Exception {
        File folder = new File(arguments[1]);
        Manifest manifest = Packs.manifest(new Pack.Folder(folder));
        Backend backend = (Backend) Class.forName(arguments[0]).getDeclaredConstructor().newInstance();
        int width = 60, height = 40;
        int[] argb = new int[width * height];
        for (int i = 0; i < argb.length; i++) {
            argb[i] = 0xFF000000 | i * 2654435 & 0xFFFFFF;
        }
        try (Segmenter segmenter = Segmenter.open(backend, new File(folder, manifest.modelFile), manifest, 1)) {
            Segmentation answer = segmenter.segment(new ArgbPixels(argb, width, height));
            System.out.println(segmenter.runtimeVersion() + " " + answer.mask.width + "x" + answer.mask.height + " "
                    + Arrays.hashCode(answer.mask.ids));
        }
    }
}
