package dev.segexport.core;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import org.json.JSONArray;
import org.json.JSONException;
import org.json.JSONObject;

/** What to run on the device: the golden sample of a pack, or what a computer sent in a job.json. */
public final class Job {
    static final int SCHEMA_VERSION = 1;

    /** One input, and how often to run it. */
    static final class Item {
        final String input;
        /** Null for an image file, else the {height, width} of raw little-endian float32, 1xCxHxW. */
        final int[] tensor;
        /** An image file with the class of each pixel as its grey level; null where nothing is expected. */
        final String expectedMask;
        final int runs;

        Item(String input, int[] tensor, String expectedMask, int runs) {
            this.input = input;
            this.tensor = tensor;
            this.expectedMask = expectedMask;
            this.runs = runs;
        }
    }

    final String id;
    final int threads;
    final int warmup;
    final List<Item> items = new ArrayList<>();
    /** What computes the model; the others are measured beside the first one. */
    final List<String> providers = new ArrayList<>();

    private Job(String id, int threads, int warmup) {
        this.id = id;
        this.threads = threads;
        this.warmup = warmup;
    }

    /** @throws SegmentationException MODEL_MISSING: the pack has no sample */
    public static Job sample(Manifest manifest, int threads, int runs) throws SegmentationException {
        return sample(manifest, threads, runs, Collections.singletonList(Backend.CPU));
    }

    /** The same on several of {@link Backend#providers}: the first one decides, the others are measured beside it. */
    public static Job sample(Manifest manifest, int threads, int runs, List<String> providers)
            throws SegmentationException {
        if (manifest.sampleInput == null) {
            throw new SegmentationException(
                    SegmentationException.Kind.MODEL_MISSING, "this model came without a sample to test it with");
        }
        Job job = new Job("self-test", threads, 2);
        job.providers.addAll(providers);
        job.items.add(new Item(manifest.sampleInput, sampleTensor(manifest), manifest.sampleMask, runs));
        return job;
    }

    /** The model's {height, width} where its sample is a tensor, since no picture has the channels; else null. */
    private static int[] sampleTensor(Manifest manifest) {
        TensorSpec input = manifest.input;
        return manifest.sampleInput.endsWith(".f32") ? new int[] {(int) input.size('H'), (int) input.size('W')} : null;
    }

    /** Reads the bytes of a job.json. */
    public static Job parse(byte[] utf8) throws SegmentationException {
        try {
            JSONObject json = new JSONObject(new String(utf8, StandardCharsets.UTF_8));
            if (json.getInt("schema_version") != SCHEMA_VERSION) {
                throw new SegmentationException(
                        SegmentationException.Kind.UNSUPPORTED,
                        "job.json has the schema_version " + json.getInt("schema_version") + ", this app reads "
                                + SCHEMA_VERSION);
            }
            Job job = new Job(json.getString("id"), json.getInt("threads"), json.optInt("warmup", 0));
            JSONArray providers = json.optJSONArray("providers");
            for (int i = 0; providers != null && i < providers.length(); i++) {
                job.providers.add(providers.getString(i));
            }
            if (job.providers.isEmpty()) {
                job.providers.add(Backend.CPU);
            }
            JSONArray items = json.getJSONArray("items");
            for (int i = 0; i < items.length(); i++) {
                JSONObject item = items.getJSONObject(i);
                JSONArray size = item.optJSONArray("tensor_size");
                job.items.add(new Item(
                        item.getString("input"),
                        size == null ? null : new int[] {size.getInt(0), size.getInt(1)},
                        item.isNull("expected_mask") ? null : item.getString("expected_mask"),
                        Math.max(1, item.optInt("runs", 1))));
            }
            return job;
        } catch (JSONException | StackOverflowError error) {
            throw new SegmentationException(
                    SegmentationException.Kind.BAD_MANIFEST, "job.json: " + error.getMessage(), error);
        }
    }

    public int threads() {
        return threads;
    }
}
