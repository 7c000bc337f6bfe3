package dev.segexport.core;

import java.io.File;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import org.json.JSONArray;
import org.json.JSONException;
import org.json.JSONObject;

/**
 * Runs a job and writes the device's answer: result.json, and one raw mask (little-endian uint16) for each input, at
 * the size of the model's answer. result.json is written last and at once, so that who waits for it finds it whole.
 */
public final class JobRunner {
    public static final String RESULT = "result.json";

    private final Pack pack;
    private final ImageDecoder decoder;
    private final Map<String, String> device;
    private volatile boolean cancelled;

    /** @param device what to say about the phone: model, android, abi, ... */
    public JobRunner(Pack pack, ImageDecoder decoder, Map<String, String> device) {
        this.pack = pack;
        this.decoder = decoder;
        this.device = device;
    }

    /** Ends the job after the run that is under way, with the error CANCELLED; from any thread. */
    public void cancel() {
        cancelled = true;
    }

    /**
     * Opens the pack's model with the backend of its format, runs everything and writes the answer into {@code folder}.
     * A failure is a result too: it is in the result's "error". Of several providers, the first one's answer is the
     * result's "runtime" and "items"; the others are measured after it and lie in "providers", each with its own "error".
     *
     * @param job null: the job.json of the pack
     * @param cache where the model is copied to
     */
    public JSONObject run(Job job, List<Backend> backends, File cache, File folder) throws IOException {
        JSONObject result = new JSONObject();
        try {
            result.put("schema_version", Job.SCHEMA_VERSION);
            result.put("device", new JSONObject(device));
            try {
                measure(job, backends, cache, folder, result);
                result.put("error", JSONObject.NULL);
            } catch (SegmentationException error) {
                result.put("error", failure(error.kind(), error.getMessage()));
            } catch (IOException | RuntimeException error) {
                result.put("error", failure(SegmentationException.Kind.RUN_FAILED, error.toString()));
            } catch (OutOfMemoryError error) {
                result.put("error", failure(SegmentationException.Kind.OUT_OF_MEMORY, "not enough memory"));
            }
            write(folder, RESULT, result.toString(1).getBytes(StandardCharsets.UTF_8));
            return result;
        } catch (JSONException error) {
            throw new IOException(error); // a NaN timing; it cannot happen
        }
    }

    private static JSONObject failure(SegmentationException.Kind kind, String message) throws JSONException {
        JSONObject failure = new JSONObject();
        failure.put("kind", kind.name());
        failure.put("message", message);
        return failure;
    }

    private void measure(Job given, List<Backend> backends, File cache, File folder, JSONObject result)
            throws SegmentationException, IOException, JSONException {
        Job job = given == null ? Job.parse(Packs.read(pack, "job.json")) : given;
        result.put("id", job.id);
        Manifest manifest = Packs.manifest(pack);
        JSONObject model = new JSONObject();
        model.put("name", manifest.name);
        model.put("format", manifest.format);
        model.put("precision", manifest.precision);
        model.put("sha256", manifest.modelSha256);
        result.put("model", model);
        Backend backend = backendFor(backends, manifest.format);
        File file = Packs.install(pack, manifest, cache);
        CrashMark mark = new CrashMark(folder);
        String crashed = mark.take();
        provider(backend, file, manifest, job, 0, folder, result);
        JSONArray others = new JSONArray();
        for (int i = 1; i < job.providers.size(); i++) {
            others.put(other(backend, file, manifest, job, i, folder, mark, crashed));
        }
        if (others.length() > 0) {
            result.put("providers", others);
        }
    }

    /** A provider that is measured beside the first one. Its failure is its row's, not the job's. */
    private JSONObject other(
            Backend backend, File file, Manifest manifest, Job job, int index, File folder, CrashMark mark,
            String crashed) throws SegmentationException, IOException, JSONException {
        JSONObject row = new JSONObject();
        String provider = job.providers.get(index);
        row.put("provider", provider);
        row.put("error", JSONObject.NULL);
        if (provider.equals(crashed)) {
            row.put("error", failure(SegmentationException.Kind.RUN_FAILED,
                    "the app ended while it ran the last time, so it was left out this time"));
            return row;
        }
        mark.set(provider);
        try {
            provider(backend, file, manifest, job, index, folder, row);
        } catch (SegmentationException error) {
            if (error.kind() == SegmentationException.Kind.CANCELLED) {
                throw error;
            }
            row.put("error", failure(error.kind(), error.getMessage()));
        } catch (RuntimeException | LinkageError error) {
            row.put("error", failure(SegmentationException.Kind.RUN_FAILED, error.toString()));
        } catch (OutOfMemoryError error) {
            row.put("error", failure(SegmentationException.Kind.OUT_OF_MEMORY, "not enough memory"));
        } finally {
            mark.clear();
        }
        if (!row.isNull("error")) {
            row.remove("items"); // of the inputs before the one that failed
        }
        return row;
    }

    /** Puts "runtime" and "items" of one provider into {@code into}. */
    private void provider(
            Backend backend, File file, Manifest manifest, Job job, int index, File folder, JSONObject into)
            throws SegmentationException, IOException, JSONException {
        String provider = job.providers.get(index);
        JSONObject runtime = new JSONObject();
        try (Segmenter segmenter = Segmenter.open(backend, file, manifest, job.threads, provider)) {
            runtime.put("name", backend.name());
            runtime.put("version", segmenter.runtimeVersion());
            runtime.put("provider", provider);
            runtime.put("threads", job.threads);
            runtime.put("load_ms", segmenter.loadMs());
            into.put("runtime", runtime);
            JSONArray items = new JSONArray();
            into.put("items", items);
            for (int i = 0; i < job.items.size(); i++) {
                String mask = "mask-" + i + (index == 0 ? "" : "-" + provider) + ".u16";
                items.put(item(segmenter, job, i, folder, mask, runtime));
            }
        }
        if (job.providers.size() > 1) {
            runtime.put("operators", new JSONObject(operators(backend, file, manifest, job.items.get(0), provider, folder)));
        }
    }

    /** What ran where; a runtime that fails to tell has not failed to compute. */
    private Map<String, Integer> operators(
            Backend backend, File file, Manifest manifest, Job.Item item, String provider, File folder)
            throws SegmentationException, IOException {
        float[] tensor;
        int[] size = item.tensor;
        if (size == null) {
            Pixels image = image(item.input);
            Placement placement = manifest.preprocess.place(image.width(), image.height());
            tensor = manifest.preprocess.apply(image, placement);
            size = new int[] {placement.tensorHeight(), placement.tensorWidth()};
        } else {
            tensor = tensor(item, manifest);
        }
        try {
            return backend.operators(file, manifest, provider, tensor, size[0], size[1], folder);
        } catch (SegmentationException | RuntimeException notTold) {
            return Collections.emptyMap();
        }
    }

    /** @throws SegmentationException BACKEND_MISSING */
    public static Backend backendFor(List<Backend> backends, String format) throws SegmentationException {
        for (Backend backend : backends) {
            if (backend.format().equals(format)) {
                return backend;
            }
        }
        throw new SegmentationException(
                SegmentationException.Kind.BACKEND_MISSING, "this app has no runtime for " + format + " models");
    }

    /** {@link Backend#providers}; where the runtime's library is missing, the CPU alone. */
    public static List<String> providersOf(Backend backend) {
        try {
            return backend.providers();
        } catch (RuntimeException | LinkageError missing) {
            return Collections.singletonList(Backend.CPU);
        }
    }

    private JSONObject item(
            Segmenter segmenter, Job job, int index, File folder, String mask, JSONObject runtime)
            throws SegmentationException, IOException, JSONException {
        Job.Item item = job.items.get(index);
        Pixels image = item.tensor == null ? image(item.input) : null;
        float[] tensor = item.tensor == null ? null : tensor(item, segmenter.manifest());
        JSONArray preprocess = new JSONArray();
        JSONArray inference = new JSONArray();
        JSONArray postprocess = new JSONArray();
        Segmentation answer = null;
        for (int run = -job.warmup; run < item.runs; run++) {
            if (cancelled) {
                throw new SegmentationException(SegmentationException.Kind.CANCELLED, "the job was cancelled");
            }
            answer = image != null ? segmenter.segment(image)
                    : segmenter.segment(tensor, item.tensor[0], item.tensor[1]);
            if (!runtime.has("first_ms")) {
                runtime.put("first_ms", answer.inferenceMs);
            }
            if (run >= 0) {
                preprocess.put(answer.preprocessMs);
                inference.put(answer.inferenceMs);
                postprocess.put(answer.postprocessMs);
            }
        }
        JSONObject json = new JSONObject();
        json.put("input", item.input);
        json.put("mask", mask);
        json.put("width", answer.mask.width);
        json.put("height", answer.mask.height);
        json.put("preprocess_ms", preprocess);
        json.put("inference_ms", inference);
        json.put("postprocess_ms", postprocess);
        if (item.expectedMask != null) {
            json.put("agreement", agreement(answer, greyLevels(image(item.expectedMask))));
        }
        write(folder, mask, bytes(answer.mask));
        return json;
    }

    /** The expected mask may be of the model's size or of the picture's. */
    private static double agreement(Segmentation answer, Mask expected) throws SegmentationException {
        double agreement = answer.mask.agreement(expected);
        if (Double.isNaN(agreement) && answer.placement != null) {
            agreement = Postprocess.restore(answer.mask, answer.placement).agreement(expected);
        }
        if (Double.isNaN(agreement)) {
            throw new SegmentationException(
                    SegmentationException.Kind.BAD_MANIFEST,
                    "the expected mask is " + expected.width + "x" + expected.height + ", the model's is "
                            + answer.mask.width + "x" + answer.mask.height);
        }
        return agreement;
    }

    private Pixels image(String name) throws SegmentationException {
        try (InputStream in = pack.open(name)) {
            return decoder.decode(in);
        } catch (IOException error) {
            throw new SegmentationException(
                    SegmentationException.Kind.BAD_IMAGE, name + " cannot be read: " + error.getMessage(), error);
        }
    }

    private float[] tensor(Job.Item item, Manifest manifest) throws SegmentationException, IOException {
        int channels = manifest.preprocess.channels();
        ByteBuffer bytes = ByteBuffer.wrap(Packs.read(pack, item.input)).order(ByteOrder.LITTLE_ENDIAN);
        float[] tensor = new float[bytes.remaining() / 4];
        bytes.asFloatBuffer().get(tensor);
        if (tensor.length != (long) channels * item.tensor[0] * item.tensor[1]) {
            throw new SegmentationException(
                    SegmentationException.Kind.BAD_IMAGE,
                    item.input + " holds " + tensor.length + " numbers, not " + channels + "x" + item.tensor[0] + "x"
                            + item.tensor[1]);
        }
        return tensor;
    }

    private static Mask greyLevels(Pixels image) {
        int[] argb = new int[image.width() * image.height()];
        image.read(0, 0, image.width(), image.height(), argb);
        char[] ids = new char[argb.length];
        for (int i = 0; i < ids.length; i++) {
            ids[i] = (char) (argb[i] & 255);
        }
        return new Mask(image.width(), image.height(), ids);
    }

    private static byte[] bytes(Mask mask) {
        ByteBuffer bytes = ByteBuffer.allocate(2 * mask.ids.length).order(ByteOrder.LITTLE_ENDIAN);
        bytes.asCharBuffer().put(mask.ids);
        return bytes.array();
    }

    private static void write(File folder, String name, byte[] bytes) throws IOException {
        File partial = new File(folder, name + ".part");
        try (OutputStream out = new FileOutputStream(partial)) {
            out.write(bytes);
        }
        if (!partial.renameTo(new File(folder, name))) {
            throw new IOException(name + " cannot be written");
        }
    }
}
