package dev.segexport.core;

import org.json.JSONArray;
import org.json.JSONException;
import org.json.JSONObject;

/** An input or output of the model. */
public final class TensorSpec {
    public final String name;
    public final String dtype;
    /** -1 where a dimension is dynamic. */
    public final long[] shape;
    /** One letter for each axis; empty when unknown. */
    public final String layout;
    /** image, logits, probability, class_index or other. */
    public final String semantics;

    TensorSpec(JSONObject json) throws JSONException {
        name = json.getString("name");
        dtype = json.getString("dtype");
        layout = json.optString("layout", "");
        semantics = json.optString("semantics", "other");
        JSONArray sizes = json.getJSONArray("shape");
        shape = new long[sizes.length()];
        for (int i = 0; i < shape.length; i++) {
            shape[i] = sizes.getLong(i);
        }
    }

    /** The size along an axis of the layout, such as 'H'; of an unknown layout, that of NCHW. */
    long size(char axis) {
        return shape[(layout.isEmpty() ? "NCHW" : layout).indexOf(axis)];
    }
}
