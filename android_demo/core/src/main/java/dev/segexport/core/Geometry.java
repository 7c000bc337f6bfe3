package dev.segexport.core;

import org.json.JSONArray;
import org.json.JSONException;
import org.json.JSONObject;

/** One geometry operation of the contract: what it makes of an image's size, and whether it resizes, pads or clips. */
final class Geometry {
    /** Null where nothing is resized. */
    final Interpolation interpolation;

    /** A value for each channel, in the contract's order; null where nothing is padded. */
    final float[] padValue;

    /** The least and the largest value of each channel; null where nothing is clipped. */
    final float[] low;

    final float[] high;

    private static final long MAX_PIXELS = 64000000;
    private final String op;
    private final int width;
    private final int height;
    private final int size;
    private final int minSize;
    private final int maxSize;
    private final int divisor;
    private final boolean keepRatio;
    private final double ratio;

    Geometry(JSONObject json) throws JSONException, SegmentationException {
        op = json.getString("op");
        boolean pads = false;
        boolean clips = false;
        switch (op) {
            case "resize":
                Json.allow(json, "op", "interpolation", "width", "height", "keep_ratio", "size_divisor");
                break;
            case "resize_short":
                Json.allow(json, "op", "interpolation", "size", "max_size");
                break;
            case "resize_long":
                Json.allow(json, "op", "interpolation", "size");
                break;
            case "limit_long":
            case "limit_short":
                Json.allow(json, "op", "interpolation", "min_size", "max_size");
                break;
            case "resize_to_multiple":
                Json.allow(json, "op", "interpolation", "multiple");
                break;
            case "pad":
                Json.allow(json, "op", "width", "height", "value");
                pads = true;
                break;
            case "pad_to_ratio":
                Json.allow(json, "op", "ratio", "value");
                pads = true;
                break;
            case "pad_to_multiple":
                Json.allow(json, "op", "multiple", "value");
                pads = true;
                break;
            case "clip":
                Json.allow(json, "op", "low", "high");
                clips = true;
                break;
            default:
                throw new SegmentationException(
                        SegmentationException.Kind.UNSUPPORTED, "geometry operation \"" + op + "\" is not known");
        }
        width = Json.size(json, "width");
        height = Json.size(json, "height");
        size = Math.max(Json.size(json, "size"), Json.size(json, "multiple"));
        minSize = Json.size(json, "min_size");
        maxSize = Json.size(json, "max_size");
        divisor = Math.max(1, Json.size(json, "size_divisor"));
        keepRatio = json.optBoolean("keep_ratio", false);
        ratio = json.optDouble("ratio", 0);
        interpolation = pads || clips ? null : Interpolation.parse(json.optString("interpolation", "linear"));
        padValue = pads ? Json.floats(json.getJSONArray("value")) : null;
        low = clips ? Json.floats(json.getJSONArray("low")) : null;
        high = clips ? Json.floats(json.getJSONArray("high")) : null;
        boolean complete = clips
                || op.startsWith("limit_")
                || size > 0
                || width > 0 && height > 0
                || op.equals("pad_to_ratio") && ratio > 0 && ratio < MAX_PIXELS;
        if (!complete) {
            throw new SegmentationException(
                    SegmentationException.Kind.BAD_MANIFEST, "geometry operation without its sizes: " + json);
        }
    }

    boolean pads() {
        return padValue != null;
    }

    boolean clips() {
        return low != null;
    }

    /** The {width, height} that an image of {@code w} x {@code h} has afterwards. */
    int[] apply(int w, int h) throws SegmentationException {
        int[] after = sizeAfter(w, h);
        if ((long) after[0] * after[1] > MAX_PIXELS) {
            throw new SegmentationException(
                    SegmentationException.Kind.BAD_IMAGE,
                    "an image of " + w + "x" + h + " would become " + after[0] + "x" + after[1] + " by " + op);
        }
        return after;
    }

    private int[] sizeAfter(int w, int h) throws SegmentationException {
        int longer = Math.max(w, h);
        int shorter = Math.min(w, h);
        double scale;
        switch (op) {
            case "resize":
                int[] to = keepRatio
                        ? scaled(w, h, Math.min((double) width / w, (double) height / h))
                        : new int[] {width, height};
                return new int[] {upToMultiple(to[0]), upToMultiple(to[1])};
            case "resize_short":
                scale = (double) size / shorter;
                if (maxSize > 0 && Math.rint(longer * scale) > maxSize) {
                    scale = (double) maxSize / longer;
                }
                return scaled(w, h, scale);
            case "resize_long":
                return scaled(w, h, (double) size / longer);
            case "limit_long":
                return limited(w, h, longer);
            case "limit_short":
                return limited(w, h, shorter);
            case "resize_to_multiple":
                return new int[] {Math.max(size, w - w % size), Math.max(size, h - h % size)};
            case "pad_to_multiple":
                return new int[] {(w + size - 1) / size * size, (h + size - 1) / size * size};
            case "clip":
                return new int[] {w, h};
            case "pad_to_ratio":
                return (double) w / h > ratio
                        ? new int[] {w, Math.max(h, (int) (w / ratio))}
                        : new int[] {Math.max(w, (int) (h * ratio)), h};
            default:
                if (w > width || h > height) {
                    throw new SegmentationException(
                            SegmentationException.Kind.BAD_IMAGE,
                            "an image of " + w + "x" + h + " does not fit into a padding to " + width + "x" + height);
                }
                return new int[] {width, height};
        }
    }

    private int[] limited(int w, int h, int side) {
        if (maxSize > 0 && side > maxSize) {
            return scaled(w, h, (double) maxSize / side);
        }
        return minSize > 0 && side < minSize ? scaled(w, h, (double) minSize / side) : new int[] {w, h};
    }

    /** {@code rint} rounds halves to even, as Python's round does. */
    private static int[] scaled(int w, int h, double scale) {
        return new int[] {(int) Math.max(1, Math.rint(w * scale)), (int) Math.max(1, Math.rint(h * scale))};
    }

    private int upToMultiple(int side) {
        return (int) (((long) side + divisor - 1) / divisor * divisor);
    }
}
