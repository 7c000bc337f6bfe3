package dev.segexport.ort;

import ai.onnxruntime.OnnxJavaType;
import ai.onnxruntime.OnnxTensor;
import ai.onnxruntime.OnnxValue;
import ai.onnxruntime.OrtEnvironment;
import ai.onnxruntime.OrtException;
import ai.onnxruntime.OrtSession;
import dev.segexport.core.Backend;
import dev.segexport.core.Manifest;
import dev.segexport.core.OutputTensor;
import dev.segexport.core.SegmentationException;
import java.io.File;
import java.nio.ByteBuffer;
import java.nio.FloatBuffer;
import java.nio.IntBuffer;
import java.nio.LongBuffer;
import java.util.Collections;
import java.util.Set;

/** ONNX Runtime on the CPU. */
public final class OrtBackend implements Backend {
    @Override
    public String name() {
        return "ONNX Runtime";
    }

    @Override
    public String format() {
        return "onnx";
    }

    @Override
    public Session open(File model, Manifest manifest, int threads) throws SegmentationException {
        OrtEnvironment environment = OrtEnvironment.getEnvironment();
        try (OrtSession.SessionOptions options = new OrtSession.SessionOptions()) {
            options.setIntraOpNumThreads(threads);
            options.setInterOpNumThreads(1);
            options.addConfigEntry("session.qdqisint8allowed", "1"); // int8 rounds on x86 as it does on ARM
            return new OrtModel(environment, environment.createSession(model.getPath(), options), manifest);
        } catch (OrtException error) {
            throw new SegmentationException(
                    SegmentationException.Kind.MODEL_REFUSED,
                    "ONNX Runtime cannot load " + manifest.modelFile + ": " + error.getMessage(), error);
        }
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
