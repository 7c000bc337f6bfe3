package dev.segexport.core;

import static org.junit.Assert.assertArrayEquals;
import static org.junit.Assert.assertEquals;
import static org.junit.Assert.assertTrue;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.Paths;
import org.json.JSONArray;
import org.json.JSONObject;
import org.junit.Test;

/** The vectors that pin Python and Java to one smoothing of videos; -Dgolden.video names their folder. */
public class VideoGoldenTest {
    private static final double TOLERANCE = 1e-5;

    private final Path folder = Paths.get(System.getProperty("golden.video", "../../tests/golden/video"));

    /** Gives forward and backward flow of each pair of frames in turn. */
    private static final class Given implements Flow {
        private final float[][] forward;
        private final float[][] backward;
        private int calls;

        Given(float[][] forward, float[][] backward) {
            this.forward = forward;
            this.backward = backward;
        }

        @Override
        public void between(byte[] previous, byte[] current, int width, int height, float[] flow) {
            float[] given = calls % 2 == 0 ? forward[calls / 2] : backward[calls / 2];
            calls++;
            System.arraycopy(given, 0, flow, 0, flow.length);
        }
    }

    @Test
    public void everyVectorIsMet() throws Exception {
        JSONObject json = new JSONObject(
                new String(Files.readAllBytes(folder.resolve("cases.json")), StandardCharsets.UTF_8));
        byte[] vectors = Files.readAllBytes(folder.resolve("vectors.bin"));
        JSONArray cases = json.getJSONArray("cases");
        assertTrue(cases.length() > 0);
        double worst = 0;
        for (int i = 0; i < cases.length(); i++) {
            worst = Math.max(worst, check(cases.getJSONObject(i), vectors));
        }
        System.out.printf("golden video: %d cases, largest difference %.3g%n", cases.length(), worst);
    }

    private static double check(JSONObject json, byte[] vectors) throws Exception {
        String name = json.getString("name");
        JSONArray shape = json.getJSONObject("scores").getJSONArray("shape");
        int frames = shape.getInt(0);
        int classes = shape.getInt(1);
        int height = shape.getInt(2);
        int width = shape.getInt(3);
        byte[][] grey = new byte[frames][width * height];
        ByteBuffer bytes = buffer(json.getJSONObject("grey"), vectors);
        for (byte[] frame : grey) {
            bytes.get(frame);
        }
        float[][] scores = floats(json, "scores", vectors, frames * classes);
        float[][] blocks = floats(json, "blocks", vectors, frames - 1);
        float[] flow = new float[2 * width * height];
        for (int i = 0; i + 1 < frames; i++) {
            new BlockFlow().between(grey[i], grey[i + 1], width, height, flow);
            assertArrayEquals(name + ", blocks " + i, blocks[i], flow, 0f);
        }
        Given given = new Given(
                floats(json, "forward", vectors, frames - 1), floats(json, "backward", vectors, frames - 1));
        double worst = compare(name, given, scores, floats(json, "smooth", vectors, frames * classes), grey, width);
        worst = Math.max(worst, compare(
                name, new BlockFlow(), scores, floats(json, "blocks_smooth", vectors, frames * classes), grey, width));
        float[] last = floats(json, "smooth", vectors, frames * classes)[frames * classes - 1];
        float[] alpha = floats(json, "alpha", vectors, 1)[0];
        assertArrayEquals(name + ", alpha", alpha, VideoSmoother.alpha(last, width, height), (float) TOLERANCE);
        return worst;
    }

    private static double compare(
            String name, Flow flow, float[][] scores, float[][] expected, byte[][] grey, int width) {
        int classes = scores.length / grey.length;
        VideoSmoother smoother = new VideoSmoother(flow);
        double worst = 0;
        for (int frame = 0; frame < grey.length; frame++) {
            float[][] given = java.util.Arrays.copyOfRange(scores, frame * classes, (frame + 1) * classes);
            float[][] found = smoother.next(given, grey[frame], width, grey[frame].length / width);
            for (int c = 0; c < classes; c++) {
                float[] want = expected[frame * classes + c];
                assertArrayEquals(name + ", frame " + frame, want, found[c], (float) TOLERANCE);
                for (int i = 0; i < want.length; i++) {
                    worst = Math.max(worst, Math.abs(want[i] - found[c][i]));
                }
            }
        }
        return worst;
    }

    private static float[][] floats(JSONObject json, String key, byte[] vectors, int parts) throws Exception {
        ByteBuffer values = buffer(json.getJSONObject(key), vectors);
        float[][] found = new float[parts][values.remaining() / 4 / parts];
        for (float[] part : found) {
            for (int i = 0; i < part.length; i++) {
                part[i] = values.getFloat();
            }
        }
        assertEquals(key, 0, values.remaining());
        return found;
    }

    private static ByteBuffer buffer(JSONObject entry, byte[] vectors) throws Exception {
        int length = entry.getString("dtype").equals("float32") ? 4 : 1;
        for (int i = 0; i < entry.getJSONArray("shape").length(); i++) {
            length *= entry.getJSONArray("shape").getInt(i);
        }
        return ByteBuffer.wrap(vectors, entry.getInt("offset"), length).slice().order(ByteOrder.LITTLE_ENDIAN);
    }
}
