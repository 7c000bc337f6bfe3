package dev.segexport.core;

import java.util.Arrays;
import java.util.HashSet;
import java.util.Iterator;
import java.util.Set;
import org.json.JSONArray;
import org.json.JSONException;
import org.json.JSONObject;

/** Small readings of the manifest that several classes share. */
final class Json {
    private Json() {}

    /** Refuses a field that this library does not know: to ignore it would mean to compute something else. */
    static void allow(JSONObject json, String... names) throws SegmentationException {
        Set<String> known = new HashSet<>(Arrays.asList(names));
        for (Iterator<String> keys = json.keys(); keys.hasNext(); ) {
            String key = keys.next();
            if (!known.contains(key)) {
                throw new SegmentationException(
                        SegmentationException.Kind.UNSUPPORTED,
                        "the manifest has a field \"" + key + "\" that this app does not know");
            }
        }
    }

    /** A number of pixels; 0 where the field is absent or null. */
    static int size(JSONObject json, String name) throws JSONException, SegmentationException {
        if (json.isNull(name)) {
            return 0;
        }
        int value = json.getInt(name);
        if (value <= 0 || value > 65535) {
            throw new SegmentationException(SegmentationException.Kind.BAD_MANIFEST, name + " is " + value);
        }
        return value;
    }

    /** A number for each channel. */
    static float[] floats(JSONArray array) throws JSONException, SegmentationException {
        if (array.length() == 0) {
            throw new SegmentationException(
                    SegmentationException.Kind.BAD_MANIFEST, "a number for each channel is wanted, got " + array);
        }
        float[] values = new float[array.length()];
        for (int i = 0; i < values.length; i++) {
            values[i] = (float) array.getDouble(i);
        }
        return values;
    }
}
