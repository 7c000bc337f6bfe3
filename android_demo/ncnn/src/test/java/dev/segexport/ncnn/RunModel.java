package dev.segexport.ncnn;

import dev.segexport.core.Backend;
import dev.segexport.core.Manifest;
import dev.segexport.core.Pack;
import dev.segexport.core.Packs;
import java.io.File;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Paths;

/** The raw scores of a model, for comparison with Python: RunModel FOLDER INPUT HEIGHT WIDTH OUTPUT (float32 files). */
public final class RunModel {
    private RunModel() {}

    public static void main(String[] arguments) throws Exception {
        File folder = new File(arguments[0]);
        Manifest manifest = Packs.manifest(new Pack.Folder(folder));
        ByteBuffer bytes = ByteBuffer.wrap(Files.readAllBytes(Paths.get(arguments[1]))).order(ByteOrder.LITTLE_ENDIAN);
        float[] input = new float[bytes.remaining() / 4];
        bytes.asFloatBuffer().get(input);
        Backend.Session session = new NcnnBackend().open(new File(folder, manifest.modelFile), manifest, 1);
        int height = Integer.parseInt(arguments[2]), width = Integer.parseInt(arguments[3]);
        session.run(new float[input.length], height, width); // the run before leaves nothing behind
        float[] scores = (float[]) session.run(input, height, width).data();
        ByteBuffer out = ByteBuffer.allocate(4 * scores.length).order(ByteOrder.LITTLE_ENDIAN);
        out.asFloatBuffer().put(scores);
        Files.write(Paths.get(arguments[4]), out.array());
        System.out.println(session.version());
        session.close();
    }
}
