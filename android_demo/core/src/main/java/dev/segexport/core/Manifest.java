package dev.segexport.core;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.json.JSONArray;
import org.json.JSONException;
import org.json.JSONObject;

/** What segexport writes beside a model: how to feed it, how to read its answer, what its classes are. */
public final class Manifest {
    public static final int SCHEMA_VERSION = 1;

    public final String name;
    /** onnx, paddle-lite or litert. */
    public final String format;
    public final String precision;
    /** What the runtime's library must have been built with; null where its usual build runs the model. */
    public final String requiredBuild;
    public final TensorSpec input;
    public final List<TensorSpec> outputs;
    /** The output that is the segmentation, an index into {@link #outputs}. */
    public final int maskOutput;
    public final Preprocess preprocess;
    public final List<Label> labels;
    /** File name of the model, relative to the manifest. */
    public final String modelFile;
    public final String modelSha256;
    /** Files beside the model that hold weights for it; most models have none. */
    public final List<Weights> weights;
    /** File names of the golden sample; null where the pack has none. */
    public final String sampleInput;
    public final String sampleMask;

    /** A file with weights. */
    public static final class Weights {
        /** Relative to the manifest. */
        public final String file;
        final String sha256;

        Weights(String file, String sha256) {
            this.file = file;
            this.sha256 = sha256;
        }
    }

    private final Map<Integer, Label> byId = new HashMap<>();

    private Manifest(JSONObject json) throws JSONException, SegmentationException {
        int version = json.getInt("schema_version");
        if (version != SCHEMA_VERSION) {
            throw bad("manifest.json has the schema_version " + version + ", this app reads " + SCHEMA_VERSION);
        }
        name = json.getString("name");
        format = json.getString("format");
        precision = json.getJSONObject("target").getString("precision");
        JSONObject requires = json.optJSONObject("requires");
        requiredBuild = requires == null ? null : requires.getString("build");
        JSONArray inputs = json.getJSONArray("inputs");
        if (inputs.length() != 1) {
            throw new SegmentationException(
                    SegmentationException.Kind.UNSUPPORTED, "a model of " + inputs.length() + " inputs");
        }
        input = new TensorSpec(inputs.getJSONObject(0));
        if (!input.dtype.equals("float32")) {
            throw new SegmentationException(
                    SegmentationException.Kind.UNSUPPORTED, "an input of " + input.dtype + "; float32 is wanted");
        }
        List<TensorSpec> specs = new ArrayList<>();
        JSONArray all = json.getJSONArray("outputs");
        int mask = -1;
        for (int i = 0; i < all.length(); i++) {
            specs.add(new TensorSpec(all.getJSONObject(i)));
            if (mask < 0 && !specs.get(i).semantics.equals("other") && !specs.get(i).semantics.equals("image")) {
                mask = i;
            }
        }
        if (mask < 0) {
            throw bad("none of the outputs is a segmentation (logits, probability or class index)");
        }
        outputs = Collections.unmodifiableList(specs);
        maskOutput = mask;
        preprocess = new Preprocess(json.getJSONObject("preprocess"));
        labels = Collections.unmodifiableList(labels(json.getJSONArray("labels")));
        for (Label label : labels) {
            byId.put(label.id, label);
        }
        JSONObject model = modelEntry(json.getJSONArray("files"));
        modelFile = inside(model.getString("path"));
        modelSha256 = model.getString("sha256");
        weights = Collections.unmodifiableList(weights(json.getJSONArray("files")));
        JSONObject sample = json.optJSONObject("sample");
        sampleInput = sample == null ? null : inside(sample.getString("input"));
        sampleMask = sample == null ? null : inside(sample.getString("expected_mask"));
    }

    /**
     * Reads the bytes of a manifest.json.
     *
     * @throws SegmentationException BAD_MANIFEST, or UNSUPPORTED where it asks for what this app cannot do
     */
    public static Manifest parse(byte[] utf8) throws SegmentationException {
        try {
            return new Manifest(new JSONObject(new String(utf8, StandardCharsets.UTF_8)));
        } catch (JSONException | StackOverflowError error) {
            throw new SegmentationException(
                    SegmentationException.Kind.BAD_MANIFEST, "manifest.json: " + error.getMessage(), error);
        }
    }

    public TensorSpec mask() {
        return outputs.get(maskOutput);
    }

    /** The class with this index in the model's answer; null where the manifest has none. */
    public Label label(int id) {
        return byId.get(id);
    }

    private static List<Label> labels(JSONArray json) throws JSONException, SegmentationException {
        List<Label> labels = new ArrayList<>();
        for (int i = 0; i < json.length(); i++) {
            JSONObject label = json.getJSONObject(i);
            JSONArray rgb = label.getJSONArray("rgb");
            int argb = 0xFF;
            for (int channel = 0; channel < 3; channel++) {
                argb = argb << 8 | rgb.getInt(channel) & 255;
            }
            int id = label.getInt("id");
            if (id < 0 || id > 65535) {
                throw bad("a label has the id " + id);
            }
            labels.add(new Label(id, label.getString("name"), argb));
        }
        return labels;
    }

    private static JSONObject modelEntry(JSONArray files) throws JSONException, SegmentationException {
        for (int i = 0; i < files.length(); i++) {
            if (files.getJSONObject(i).optString("role", "model").equals("model")) {
                return files.getJSONObject(i);
            }
        }
        throw bad("no file with the role \"model\"");
    }

    private static List<Weights> weights(JSONArray files) throws JSONException, SegmentationException {
        List<Weights> weights = new ArrayList<>();
        for (int i = 0; i < files.length(); i++) {
            JSONObject file = files.getJSONObject(i);
            if (file.optString("role").equals("params")) {
                weights.add(new Weights(inside(file.getString("path")), file.getString("sha256")));
            }
        }
        return weights;
    }

    private static String inside(String path) throws SegmentationException {
        if (path.isEmpty() || path.startsWith("/") || path.contains("\\") || ("/" + path + "/").contains("/../")) {
            throw bad("a file of the pack lies outside of it: " + path);
        }
        return path;
    }

    private static SegmentationException bad(String message) {
        return new SegmentationException(SegmentationException.Kind.BAD_MANIFEST, message);
    }
}
