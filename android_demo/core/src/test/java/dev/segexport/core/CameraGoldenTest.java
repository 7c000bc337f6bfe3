package dev.segexport.core;

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

/** Frames of a camera in every layout against what Python makes of them; -Dgolden.camera names their folder. */
public class CameraGoldenTest {
    private final Path folder = Paths.get(System.getProperty("golden.camera", "../../tests/golden/camera"));
    private final YuvFrame frame = new YuvFrame(); // one for all, as a camera uses it

    @Test
    public void everyFrameIsMetToOneGreyLevel() throws Exception {
        JSONObject json = new JSONObject(
                new String(Files.readAllBytes(folder.resolve("cases.json")), StandardCharsets.UTF_8));
        byte[] vectors = Files.readAllBytes(folder.resolve("vectors.bin"));
        JSONArray cases = json.getJSONArray("cases");
        assertTrue(cases.length() > 0);
        int worst = 0;
        for (int i = 0; i < cases.length(); i++) {
            worst = Math.max(worst, check(cases.getJSONObject(i), vectors));
        }
        System.out.printf("golden camera: %d cases, largest difference %d grey levels%n", cases.length(), worst);
    }

    private int check(JSONObject json, byte[] vectors) throws Exception {
        String name = json.getString("name");
        JSONArray crop = json.getJSONArray("crop");
        ByteBuffer direct = ByteBuffer.allocateDirect(vectors.length);
        direct.put(vectors);
        frame.copy(plane(json, "luma", direct), plane(json, "u", direct), plane(json, "v", direct),
                crop.getInt(0), crop.getInt(1), crop.getInt(2), crop.getInt(3),
                json.getInt("rotation"), json.getBoolean("mirrored"));
        JSONArray shape = json.getJSONObject("rgb").getJSONArray("shape");
        assertEquals(name, shape.getInt(0), frame.height());
        assertEquals(name, shape.getInt(1), frame.width());
        int[] whole = new int[frame.width() * frame.height()];
        frame.read(0, 0, frame.width(), frame.height(), whole);
        ByteBuffer rgb = values(json.getJSONObject("rgb"), vectors);
        int worst = 0;
        for (int argb : whole) {
            assertEquals(name, 255, argb >>> 24);
            for (int shift = 16; shift >= 0; shift -= 8) {
                worst = Math.max(worst, Math.abs((argb >> shift & 255) - (rgb.get() & 255)));
            }
        }
        assertTrue(name + " differs by " + worst + " grey levels", worst <= 1);
        int[] part = new int[6];
        frame.read(2, 3, 3, 2, part);
        for (int i = 0; i < part.length; i++) {
            assertEquals(name, whole[(3 + i / 3) * frame.width() + 2 + i % 3], part[i]);
        }
        tensor(name, json, vectors);
        return worst;
    }

    private void tensor(String name, JSONObject json, byte[] vectors) throws Exception {
        JSONObject contract = json.getJSONObject("preprocess");
        Preprocess preprocess = Preprocess.parse(contract.toString());
        float[] found = preprocess.apply(frame, preprocess.place(frame.width(), frame.height()));
        ByteBuffer wanted = values(json.getJSONObject("tensor"), vectors);
        double std = 1;
        for (int c = 0; c < 3; c++) {
            std = Math.min(std, contract.getJSONArray("std").getDouble(c));
        }
        double level = contract.getDouble("scale") / std;
        assertEquals(name, wanted.remaining() / 4, found.length);
        for (float value : found) {
            assertEquals(name, wanted.getFloat(), value, 1.01 * level);
        }
    }

    private static YuvFrame.Plane plane(JSONObject json, String name, ByteBuffer vectors) throws Exception {
        JSONObject entry = json.getJSONObject(name);
        ByteBuffer bytes = vectors.duplicate();
        bytes.position(entry.getInt("offset"));
        bytes.limit(entry.getInt("offset") + entry.getJSONArray("shape").getInt(0));
        return new YuvFrame.Plane(bytes, entry.getInt("row_stride"), entry.getInt("pixel_stride"));
    }

    private static ByteBuffer values(JSONObject entry, byte[] vectors) throws Exception {
        int length = entry.getString("dtype").equals("float32") ? 4 : 1;
        for (int i = 0; i < entry.getJSONArray("shape").length(); i++) {
            length *= entry.getJSONArray("shape").getInt(i);
        }
        return ByteBuffer.wrap(vectors, entry.getInt("offset"), length).slice().order(ByteOrder.LITTLE_ENDIAN);
    }
}
