package dev.segexport.core;

import java.util.ArrayList;
import java.util.List;
import org.json.JSONArray;
import org.json.JSONException;
import org.json.JSONObject;

/**
 * From an image to the network's input: segexport's contract, the twin of preprocess.py. A picture of 8-bit colours is
 * enough for most networks; for those of other channels or of 16 bits, the app gives the channels themselves.
 */
public final class Preprocess {
    private final ChannelOrder order;
    private final boolean asStored;
    private final List<Geometry> geometry = new ArrayList<>();
    private final float scale;
    private final float[] mean;
    private final float[] std;

    Preprocess(JSONObject json) throws JSONException, SegmentationException {
        Json.allow(json, "color", "depth", "geometry", "scale", "mean", "std");
        order = ChannelOrder.parse(json.getString("color"));
        String depth = json.optString("depth", "uint8");
        if (!depth.equals("uint8") && !depth.equals("stored")) {
            throw new SegmentationException(SegmentationException.Kind.UNSUPPORTED, "depth \"" + depth + "\"");
        }
        asStored = depth.equals("stored");
        scale = (float) json.getDouble("scale");
        mean = Json.floats(json.getJSONArray("mean"));
        std = Json.floats(json.getJSONArray("std"));
        requireAsMany(std, "std");
        if (order.count != 0) {
            requireAsMany(new float[order.count], "color " + json.getString("color"));
        }
        for (float value : std) {
            if (value == 0f) {
                throw new SegmentationException(SegmentationException.Kind.BAD_MANIFEST, "std has a 0");
            }
        }
        JSONArray operations = json.getJSONArray("geometry");
        for (int i = 0; i < operations.length(); i++) {
            Geometry operation = new Geometry(operations.getJSONObject(i));
            if (operation.pads()) {
                requireAsMany(operation.padValue, "a padding");
            }
            if (operation.clips()) {
                requireAsMany(operation.low, "a clip");
                requireAsMany(operation.high, "a clip");
            }
            geometry.add(operation);
        }
    }

    private void requireAsMany(float[] values, String what) throws SegmentationException {
        if (values.length != mean.length) {
            throw new SegmentationException(
                    SegmentationException.Kind.BAD_MANIFEST,
                    what + " has " + values.length + " channels, there are " + mean.length + " means");
        }
    }

    /** How many channels the network takes. */
    public int channels() {
        return mean.length;
    }

    /** Whether a picture of 8-bit colours is enough; if not, its channels have to be given themselves. */
    public boolean takesPictures() {
        return order.isOfColours() && !asStored;
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
            padded[i] = geometry.get(i).pads() || geometry.get(i).clips();
        }
        return new Placement(sizes, padded);
    }

    /**
     * The network's input: float32, 1xCxHxW of the placement's tensor size, in the contract's order of channels.
     *
     * @throws SegmentationException UNSUPPORTED: a picture of 8-bit colours does not have these channels
     */
    public float[] apply(Pixels image, Placement placement) throws SegmentationException {
        if (!takesPictures()) {
            throw new SegmentationException(
                    SegmentationException.Kind.UNSUPPORTED,
                    "this model takes " + mean.length + " channels as a file stores them, which a picture of 8-bit"
                            + " colours does not have; give the channels themselves");
        }
        for (int i = 0; i < geometry.size(); i++) { // a resize that comes first reads the picture row by row
            Geometry operation = geometry.get(i);
            int[] size = placement.sizeAfter(i);
            if (operation.clips()) {
                break;
            }
            if (size[0] != image.width() || size[1] != image.height()) {
                FloatImage first = operation.pads()
                        ? pad(FloatImage.of(image, order), size, operation.padValue)
                        : Resizer.resize(image, order, size[0], size[1], operation.interpolation);
                return finish(first, placement, i + 1);
            }
        }
        return finish(FloatImage.of(image, order), placement, 0);
    }

    /**
     * The same for an image whose channels are given: as a file stores them, colours as red, green and blue.
     *
     * @throws SegmentationException BAD_IMAGE: it has another number of channels
     */
    public float[] apply(FloatImage image, Placement placement) throws SegmentationException {
        if (image.channels != mean.length) {
            throw new SegmentationException(
                    SegmentationException.Kind.BAD_IMAGE,
                    "an image of " + image.channels + " channels, this model takes " + mean.length);
        }
        return finish(order.swaps ? image.swapped() : image, placement, 0);
    }

    /** Runs the operations from {@code next} on. */
    private float[] finish(FloatImage image, Placement placement, int next) {
        FloatImage current = image;
        for (int i = next; i < geometry.size(); i++) {
            Geometry operation = geometry.get(i);
            int[] size = placement.sizeAfter(i);
            if (operation.clips()) {
                current = clip(current, operation.low, operation.high);
            } else if (size[0] != current.width || size[1] != current.height) {
                current = operation.pads()
                        ? pad(current, size, operation.padValue)
                        : Resizer.resize(current, size[0], size[1], operation.interpolation);
            }
        }
        return normalize(current);
    }

    /**
     * The image in a tensor as grey levels: what the network sees, paddings too.
     *
     * @throws SegmentationException UNSUPPORTED: the network takes neither colours nor grey
     */
    FloatImage grey(float[] tensor, int width, int height) throws SegmentationException {
        if (!takesPictures()) {
            throw new SegmentationException(
                    SegmentationException.Kind.UNSUPPORTED, "a video has colours, this model takes other channels");
        }
        int plane = width * height;
        float[] weights = order == ChannelOrder.GRAY
                ? new float[] {1f} : new float[] {9798f / 32768, 19235f / 32768, 3735f / 32768};
        FloatImage grey = new FloatImage(width, height, 1);
        for (int colour = 0; colour < weights.length; colour++) {
            int channel = order.swaps ? 2 - colour : colour;
            for (int i = 0; i < plane; i++) {
                float level = (tensor[channel * plane + i] * std[channel] + mean[channel]) / scale;
                grey.data[i] += level * weights[colour];
            }
        }
        return grey;
    }

    private static FloatImage clip(FloatImage image, float[] low, float[] high) {
        FloatImage clipped = new FloatImage(image.width, image.height, image.channels);
        for (int i = 0; i < clipped.data.length; i++) {
            int channel = i % image.channels;
            clipped.data[i] = Math.min(Math.max(image.data[i], low[channel]), high[channel]);
        }
        return clipped;
    }

    private static FloatImage pad(FloatImage image, int[] size, float[] value) {
        int channels = image.channels;
        FloatImage padded = new FloatImage(size[0], size[1], channels);
        for (int i = 0; i < padded.data.length; i += channels) {
            System.arraycopy(value, 0, padded.data, i, channels);
        }
        for (int y = 0; y < image.height; y++) {
            System.arraycopy(
                    image.data, channels * y * image.width, padded.data, channels * y * padded.width,
                    channels * image.width);
        }
        return padded;
    }

    /** (value * scale - mean) / std in float32, in this order, then HWC to CHW. */
    private float[] normalize(FloatImage image) {
        int plane = image.width * image.height;
        int channels = image.channels;
        float[] tensor = new float[channels * plane];
        for (int channel = 0; channel < channels; channel++) {
            float m = mean[channel];
            float s = std[channel];
            int out = channel * plane;
            for (int i = 0; i < plane; i++) {
                tensor[out + i] = (image.data[channels * i + channel] * scale - m) / s;
            }
        }
        return tensor;
    }
}
