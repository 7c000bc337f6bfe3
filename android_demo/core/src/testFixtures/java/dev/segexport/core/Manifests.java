package dev.segexport.core;

import java.nio.charset.StandardCharsets;

/** Manifests for tests. */
public final class Manifests {
    private Manifests() {}

    /** A model of the input [1, 3, -1, -1] that resizes to width x height and leaves grey levels as they are. */
    public static String json(String format, int width, int height, String output) {
        return "{'schema_version': 1, 'name': 'toy', 'format': '" + format + "',"
                + "'files': [{'path': 'model.bin', 'sha256': '" + SHA256_OF_ABC + "', 'size_bytes': 3, 'role': 'model'}],"
                + "'inputs': [{'name': 'x', 'dtype': 'float32', 'shape': [1, 3, -1, -1], 'layout': 'NCHW',"
                + " 'semantics': 'image'}], 'outputs': [" + output + "],"
                + "'preprocess': {'color': 'rgb', 'geometry': [{'op': 'resize', 'width': " + width + ", 'height': "
                + height + ", 'keep_ratio': false, 'size_divisor': 1, 'interpolation': 'nearest'}], 'scale': 1.0,"
                + " 'mean': [0, 0, 0], 'std': [1, 1, 1]},"
                + "'labels': [{'id': 0, 'name': 'ground', 'rgb': [0, 0, 0]}, {'id': 1, 'name': 'tree',"
                + " 'rgb': [0, 255, 0]}], 'ignore_index': 255, 'target': {'arch': 'any', 'precision': 'fp32',"
                + " 'min_runtime_version': ''}, 'lineage': [], 'sample': null}";
    }

    /** The same model of an image of fixed size with the channels last. */
    public static String channelsLast(String json, int height, int width) {
        return json.replace("'shape': [1, 3, -1, -1], 'layout': 'NCHW', 'semantics': 'image'",
                "'shape': [1, " + height + ", " + width + ", 3], 'layout': 'NHWC', 'semantics': 'image'");
    }

    /** The same model, for a library with this build. */
    public static String requiring(String json, String build) {
        return json.replace("'sample': null", "'requires': {'library': 'paddle-lite', 'build': '" + build + "'}");
    }

    /** sha256 of the three bytes "abc". */
    public static final String SHA256_OF_ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    public static final String LOGITS = "{'name': 'y', 'dtype': 'float32', 'shape': [1, 2, -1, -1],"
            + " 'layout': 'NCHW', 'semantics': 'logits'}";

    public static Manifest parse(String json) throws SegmentationException {
        return Manifest.parse(json.replace('\'', '"').getBytes(StandardCharsets.UTF_8));
    }

    public static TensorSpec spec(String semantics, String layout) throws Exception {
        return new TensorSpec(new org.json.JSONObject(
                "{\"name\": \"y\", \"dtype\": \"float32\", \"shape\": [], \"layout\": \"" + layout
                        + "\", \"semantics\": \"" + semantics + "\"}"));
    }
}
