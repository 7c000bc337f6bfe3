package dev.segexport.core;

import static org.junit.Assert.assertArrayEquals;
import static org.junit.Assert.assertEquals;
import static org.junit.Assert.assertThrows;
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

/** The vectors that pin Python and Java to one preprocessing; -Dgolden says where they lie. */
public class GoldenTest {
    private final Path folder = Paths.get(System.getProperty("golden", "../../tests/golden/preprocess"));

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
        System.out.printf("golden: %d cases, largest difference in the tensor %.3g%n", cases.length(), worst);
    }

    private static double check(JSONObject json, byte[] vectors) throws Exception {
        String name = json.getString("name");
        Preprocess preprocess = Preprocess.parse(json.getJSONObject("preprocess").toString());
        FloatImage image = image(json.getJSONObject("decoded"), vectors);
        Placement placement = preprocess.place(image.width, image.height);
        JSONArray shape = json.getJSONObject("tensor").getJSONArray("shape");
        assertEquals(name, shape.getInt(2), placement.tensorHeight());
        assertEquals(name, shape.getInt(3), placement.tensorWidth());

        double worst = compare(json, vectors, preprocess.apply(image, placement));
        if (json.isNull("picture")) {
            assertThrows(name, SegmentationException.class,
                    () -> preprocess.apply(new ArgbPixels(new int[1], 1, 1), placement));
        } else {
            Pixels picture = picture(json.getJSONObject("picture"), vectors);
            worst = Math.max(worst, compare(json, vectors, preprocess.apply(picture, placement)));
        }

        JSONArray maskShape = json.getJSONObject("mask").getJSONArray("shape");
        Mask mask = new Mask(
                maskShape.getInt(1), maskShape.getInt(0), chars(array(json.getJSONObject("mask"), vectors)));
        char[] restored = chars(array(json.getJSONObject("restored"), vectors));
        assertArrayEquals(name, restored, Postprocess.restore(mask, placement).ids);
        return worst;
    }

    /** The largest difference of a tensor from the expected one, which it may not pass. */
    private static double compare(JSONObject json, byte[] vectors, float[] tensor) throws Exception {
        String name = json.getString("name");
        ByteBuffer expected = array(json.getJSONObject("tensor"), vectors);
        assertEquals(name, expected.remaining() / 4, tensor.length);
        JSONObject contract = json.getJSONObject("preprocess");
        double smallestStd = Double.MAX_VALUE;
        for (int c = 0; c < contract.getJSONArray("std").length(); c++) {
            smallestStd = Math.min(smallestStd, Math.abs(contract.getJSONArray("std").getDouble(c)));
        }
        double worst = 0;
        for (int i = 0; i < tensor.length; i++) {
            float want = expected.getFloat();
            double allowed = json.getDouble("geometry_tolerance") * contract.getDouble("scale") / smallestStd
                    + 1e-6 * Math.max(1, Math.abs(want));
            assertEquals(name + ", number " + i, want, tensor[i], allowed);
            worst = Math.max(worst, Math.abs(want - tensor[i]));
        }
        return worst;
    }

    private static FloatImage image(JSONObject entry, byte[] vectors) throws Exception {
        ByteBuffer values = array(entry, vectors);
        JSONArray shape = entry.getJSONArray("shape");
        float[] data = new float[shape.getInt(0) * shape.getInt(1) * shape.getInt(2)];
        for (int i = 0; i < data.length; i++) {
            data[i] = entry.getString("dtype").equals("uint16") ? values.getChar() : values.get() & 255;
        }
        return new FloatImage(shape.getInt(1), shape.getInt(0), shape.getInt(2), data);
    }

    private static Pixels picture(JSONObject entry, byte[] vectors) throws Exception {
        ByteBuffer rgb = array(entry, vectors);
        int height = entry.getJSONArray("shape").getInt(0);
        int width = entry.getJSONArray("shape").getInt(1);
        int[] argb = new int[width * height];
        for (int i = 0; i < argb.length; i++) {
            argb[i] = (rgb.get() & 255) << 16 | (rgb.get() & 255) << 8 | rgb.get() & 255;
        }
        return new ArgbPixels(argb, width, height);
    }

    private static ByteBuffer array(JSONObject entry, byte[] vectors) throws Exception {
        String dtype = entry.getString("dtype");
        int length = dtype.equals("float32") ? 4 : dtype.equals("uint16") ? 2 : 1;
        for (int i = 0; i < entry.getJSONArray("shape").length(); i++) {
            length *= entry.getJSONArray("shape").getInt(i);
        }
        return ByteBuffer.wrap(vectors, entry.getInt("offset"), length).slice().order(ByteOrder.LITTLE_ENDIAN);
    }

    private static char[] chars(ByteBuffer bytes) {
        char[] ids = new char[bytes.remaining()];
        for (int i = 0; i < ids.length; i++) {
            ids[i] = (char) (bytes.get() & 255);
        }
        return ids;
    }
}
