package dev.segexport.ort;

import dev.segexport.core.Backend;
import dev.segexport.core.Manifest;
import dev.segexport.core.Pack;
import dev.segexport.core.Packs;
import dev.segexport.core.SegmentationException;
import java.io.File;
import java.util.concurrent.atomic.AtomicBoolean;

/** Ends a run from another thread, then runs again: CancelRun FOLDER. */
public final class CancelRun {
    private CancelRun() {}

    public static void main(String[] arguments) throws Exception {
        File folder = new File(arguments[0]);
        Manifest manifest = Packs.manifest(new Pack.Folder(folder));
        Backend.Session session = new OrtBackend().open(new File(folder, manifest.modelFile), manifest, 1);
        int side = 512;
        float[] input = new float[3 * side * side];
        AtomicBoolean ended = new AtomicBoolean();
        Thread other = new Thread(() -> {
            while (!ended.get()) {
                session.cancel();
                Thread.yield();
            }
        });
        other.setDaemon(true);
        other.start();
        try {
            while (true) {
                session.run(input, side, side);
            }
        } catch (SegmentationException error) {
            System.out.println(error.kind() + " " + error.getMessage());
        }
        ended.set(true);
        other.join();
        System.out.println("then " + session.run(input, side, side).data().getClass().getSimpleName());
        session.close();
    }
}
