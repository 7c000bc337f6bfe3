package dev.segexport.ort;

import ai.onnxruntime.OnnxJavaType;
import ai.onnxruntime.OnnxTensor;
import ai.onnxruntime.OnnxValue;
import ai.onnxruntime.OrtEnvironment;
import ai.onnxruntime.OrtException;
import ai.onnxruntime.OrtProvider;
import ai.onnxruntime.OrtSession;
import dev.segexport.core.Backend;
import dev.segexport.core.Manifest;
import dev.segexport.core.OutputTensor;
import dev.segexport.core.SegmentationException;
import java.io.File;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.FloatBuffer;
import java.nio.IntBuffer;
import java.nio.LongBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Paths;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import org.json.JSONArray;
import org.json.JSONException;
import org.json.JSONObject;

/** ONNX Runtime on the CPU, or on another provider that its library has. */
public final class OrtBackend implements Backend {
    private static final Map<String, OrtProvider> KNOWN = new TreeMap<>();

    static {
        KNOWN.put("xnnpack", OrtProvider.XNNPACK);
        KNOWN.put("nnapi", OrtProvider.NNAPI);
        KNOWN.put("qnn", OrtProvider.QNN);
    }

    @Override
    public String name() {
        return "ONNX Runtime";
    }

    @Override
    public String format() {
        return "onnx";
    }

    /** Those of the library: NNAPI and XNNPACK in the official AAR, QNN in the one that is built for it. */
    @Override
    public List<String> providers() {
        Set<OrtProvider> available = OrtEnvironment.getAvailableProviders();
        List<String> providers = new ArrayList<>();
        providers.add(CPU);
        for (Map.Entry<String, OrtProvider> known : KNOWN.entrySet()) {
            if (available.contains(known.getValue())) {
                providers.add(known.getKey());
            }
        }
        return providers;
    }

    @Override
    public Session open(File model, Manifest manifest, int threads) throws SegmentationException {
        return open(model, manifest, threads, CPU);
    }

    @Override
    public Session open(File model, Manifest manifest, int threads, String provider) throws SegmentationException {
        return open(model, manifest, threads, provider, null);
    }

    /** @param profile where the profile's file begins its name; null for none */
    private OrtModel open(File model, Manifest manifest, int threads, String provider, File profile)
            throws SegmentationException {
        if (!providers().contains(provider)) {
            throw new SegmentationException(
                    SegmentationException.Kind.PROVIDER_MISSING,
                    "ONNX Runtime of this app has no provider " + provider + ", it has " + providers());
        }
        OrtEnvironment environment = OrtEnvironment.getEnvironment();
        try (OrtSession.SessionOptions options = new OrtSession.SessionOptions()) {
            options.setIntraOpNumThreads(threads);
            options.setInterOpNumThreads(1);
            options.addConfigEntry("session.qdqisint8allowed", "1"); // int8 rounds on x86 as it does on ARM
            if (profile != null) {
                options.enableProfiling(profile.getPath());
            }
            add(options, provider, threads);
            return new OrtModel(environment, environment.createSession(model.getPath(), options), manifest);
        } catch (OrtException error) {
            throw new SegmentationException(
                    SegmentationException.Kind.MODEL_REFUSED,
                    "ONNX Runtime cannot load " + manifest.modelFile + (provider.equals(CPU) ? "" : " on " + provider)
                            + ": " + error.getMessage(), error);
        }
    }

    private static void add(OrtSession.SessionOptions options, String provider, int threads) throws OrtException {
        switch (provider) {
            case "xnnpack": // has threads of its own, which those of the session would compete with
                options.addConfigEntry("session.intra_op.allow_spinning", "0");
                options.addXnnpack(Collections.singletonMap("intra_op_num_threads", String.valueOf(threads)));
                return;
            case "nnapi":
                options.addNnapi();
                return;
            case "qnn": // Hexagon, the processor for neural networks in Snapdragon chips
                options.addQnn(Collections.singletonMap("backend_path", "libQnnHtp.so"));
                return;
            default:
                return;
        }
    }

    /** From the profile of one run. */
    @Override
    public Map<String, Integer> operators(
            File model, Manifest manifest, String provider, float[] nchw, int height, int width, File scratch)
            throws SegmentationException {
        OrtModel opened = open(model, manifest, 1, provider, new File(scratch, "profile"));
        String profile = null;
        try {
            opened.run(nchw, height, width);
            profile = opened.session.endProfiling();
            return counted(new String(Files.readAllBytes(Paths.get(profile)), StandardCharsets.UTF_8));
        } catch (OrtException | IOException | JSONException error) {
            throw new SegmentationException(
                    SegmentationException.Kind.RUN_FAILED, "ONNX Runtime's profile: " + error.getMessage(), error);
        } finally {
            opened.close();
            if (profile != null) {
                new File(profile).delete();
            }
        }
    }

    private static Map<String, Integer> counted(String profile) throws JSONException {
        Map<String, Integer> counts = new TreeMap<>();
        JSONArray events = new JSONArray(profile);
        for (int i = 0; i < events.length(); i++) {
            JSONObject ran = events.getJSONObject(i).optJSONObject("args");
            String provider = ran == null ? "" : ran.optString("provider");
            if (!provider.isEmpty() && events.getJSONObject(i).getString("name").endsWith("_kernel_time")) {
                String name = provider.replace("ExecutionProvider", "").toLowerCase(Locale.ROOT);
                Integer before = counts.get(name);
                counts.put(name, before == null ? 1 : before + 1);
            }
        }
        return counts;
    }

    private static final class OrtModel implements Session {
        private final OrtEnvironment environment;
        private final OrtSession session;
        private final OrtSession.RunOptions running;
        private final String input;
        private final Set<String> output;

        OrtModel(OrtEnvironment environment, OrtSession session, Manifest manifest)
                throws SegmentationException, OrtException {
            this.environment = environment;
            this.session = session;
            running = new OrtSession.RunOptions();
            input = manifest.input.name;
            output = Collections.singleton(manifest.mask().name);
            if (!session.getInputNames().contains(input) || !session.getOutputNames().containsAll(output)) {
                String has = session.getInputNames() + " and " + session.getOutputNames();
                close();
                throw new SegmentationException(
                        SegmentationException.Kind.MODEL_REFUSED,
                        "the manifest names " + input + " and " + output + ", the model has " + has);
            }
        }

        @Override
        public String version() {
            return environment.getVersion();
        }

        @Override
        public OutputTensor run(float[] nchw, int height, int width) throws SegmentationException {
            long[] shape = {1, nchw.length / ((long) height * width), height, width};
            try {
                running.setTerminate(false); // what ended the run before does not end this one
                return run(nchw, shape);
            } catch (OrtException error) {
                throw new SegmentationException(
                        SegmentationException.Kind.RUN_FAILED, "ONNX Runtime: " + error.getMessage(), error);
            }
        }

        private OutputTensor run(float[] nchw, long[] shape) throws SegmentationException, OrtException {
            try (OnnxTensor tensor = OnnxTensor.createTensor(environment, FloatBuffer.wrap(nchw), shape);
                    OrtSession.Result result = session.run(Collections.singletonMap(input, tensor), output, running)) {
                OnnxValue value = result.get(0);
                if (!(value instanceof OnnxTensor)) {
                    throw new SegmentationException(
                            SegmentationException.Kind.RUN_FAILED, "the model answered with " + value.getInfo());
                }
                OnnxTensor answer = (OnnxTensor) value;
                return new OutputTensor(array(answer), answer.getInfo().getShape());
            }
        }

        private static Object array(OnnxTensor tensor) throws SegmentationException {
            OnnxJavaType type = tensor.getInfo().type;
            switch (type) {
                case FLOAT:
                case FLOAT16: // comes back as float32
                    FloatBuffer floats = tensor.getFloatBuffer();
                    float[] asFloats = new float[floats.remaining()];
                    floats.get(asFloats);
                    return asFloats;
                case INT32:
                    IntBuffer ints = tensor.getIntBuffer();
                    int[] asInts = new int[ints.remaining()];
                    ints.get(asInts);
                    return asInts;
                case INT64:
                    LongBuffer longs = tensor.getLongBuffer();
                    long[] asLongs = new long[longs.remaining()];
                    longs.get(asLongs);
                    return asLongs;
                case UINT8:
                case INT8:
                case BOOL:
                    ByteBuffer bytes = tensor.getByteBuffer();
                    byte[] asBytes = new byte[bytes.remaining()];
                    bytes.get(asBytes);
                    return asBytes;
                default:
                    throw new SegmentationException(
                            SegmentationException.Kind.UNSUPPORTED, "the model answers with " + type);
            }
        }

        @Override
        public void cancel() {
            try {
                running.setTerminate(true);
            } catch (OrtException error) {
                return; // then it runs to its end
            }
        }

        @Override
        public void close() {
            try {
                running.close();
                session.close();
            } catch (OrtException error) {
                throw new IllegalStateException(error);
            }
        }
    }
}
