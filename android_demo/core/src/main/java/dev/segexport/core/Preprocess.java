package dev.segexport.core;

import java.util.ArrayList;
import java.util.List;
import org.json.JSONArray;
import org.json.JSONException;
import org.json.JSONObject;

/** From a decoded image to the network's input: segexport's contract, the twin of preprocess.py. */
public final class Preprocess {
    private final boolean bgr;
    private final List<Geometry> geometry = new ArrayList<>();
    private final float scale;
    private final float[] mean;
    private final float[] std;

    Preprocess(JSONObject json) throws JSONException, SegmentationException {
        Json.allow(json, "color", "geometry", "scale", "mean", "std");
        String color = json.getString("color");
        if (!color.equals("rgb") && !color.equals("bgr")) {
            throw new SegmentationException(SegmentationException.Kind.UNSUPPORTED, "colour order \"" + color + "\"");
        }
        bgr = color.equals("bgr");
        JSONArray operations = json.getJSONArray("geometry");
        for (int i = 0; i < operations.length(); i++) {
            geometry.add(new Geometry(operations.getJSONObject(i)));
        }
        scale = (float) json.getDouble("scale");
        mean = Json.floats(json.getJSONArray("mean"));
        std = Json.floats(json.getJSONArray("std"));
        for (float value : std) {
            if (value == 0f) {
                throw new SegmentationException(SegmentationException.Kind.BAD_MANIFEST, "std has a 0");
            }
        }
    }

    /** Reads the "preprocess" object of a manifest. */
    public static Preprocess parse(String json) throws SegmentationException {
        try {
            return new Preprocess(new JSONObject(json));
        } catch (JSONException | StackOverflowError error) {
            throw new SegmentationException(
                    SegmentationException.Kind.BAD_MANIFEST, "preprocess: " + error.getMessage(), error);
        }
    }

    /**
     * Works out the sizes that an image goes through; no pixel is touched.
     *
     * @throws SegmentationException BAD_IMAGE: it has no pixels or does not fit into a padding
     */
    public Placement place(int width, int height) throws SegmentationException {
        if (width < 1 || height < 1) {
            throw new SegmentationException(
                    SegmentationException.Kind.BAD_IMAGE, "the image has no pixels (" + width + "x" + height + ")");
        }
        int[][] sizes = new int[geometry.size() + 1][];
        boolean[] padded = new boolean[geometry.size()];
        sizes[0] = new int[] {width, height};
        for (int i = 0; i < padded.length; i++) {
            sizes[i + 1] = geometry.get(i).apply(sizes[i][0], sizes[i][1]);
            padded[i] = geometry.get(i).pads();
        }
        return new Placement(sizes, padded);
    }

    /** The network's input: float32, 1x3xHxW of the placement's tensor size, in the contract's colour order. */
    public float[] apply(Pixels image, Placement placement) {
        FloatImage current = null; // read from `image` by the first operation that changes the size
        for (int i = 0; i < geometry.size(); i++) {
            Geometry operation = geometry.get(i);
            int[] size = placement.sizeAfter(i);
            int width = current == null ? image.width() : current.width;
            int height = current == null ? image.height() : current.height;
            if (size[0] == width && size[1] == height) {
                continue;
            }
            if (operation.pads()) {
                current = pad(current == null ? FloatImage.of(image, bgr) : current, size, operation.padValue);
            } else if (current == null) {
                current = Resizer.resize(image, bgr, size[0], size[1], operation.interpolation);
            } else {
                current = Resizer.resize(current, size[0], size[1], operation.interpolation);
            }
        }
        return normalize(current == null ? FloatImage.of(image, bgr) : current);
    }

    private static FloatImage pad(FloatImage image, int[] size, float[] value) {
        FloatImage padded = new FloatImage(size[0], size[1]);
        for (int i = 0; i < padded.data.length; i += 3) {
            padded.data[i] = value[0];
            padded.data[i + 1] = value[1];
            padded.data[i + 2] = value[2];
        }
        for (int y = 0; y < image.height; y++) {
            System.arraycopy(
                    image.data, 3 * y * image.width, padded.data, 3 * y * padded.width, 3 * image.width);
        }
        return padded;
    }

    /** (value * scale - mean) / std in float32, in this order, then HWC to CHW. */
    private float[] normalize(FloatImage image) {
        int plane = image.width * image.height;
        float[] tensor = new float[3 * plane];
        for (int channel = 0; channel < 3; channel++) {
            float m = mean[channel];
            float s = std[channel];
            int out = channel * plane;
            for (int i = 0; i < plane; i++) {
                tensor[out + i] = (image.data[3 * i + channel] * scale - m) / s;
            }
        }
        return tensor;
    }
}
