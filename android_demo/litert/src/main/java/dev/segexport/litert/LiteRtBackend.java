package dev.segexport.litert;

import dev.segexport.core.Backend;
import dev.segexport.core.Manifest;
import dev.segexport.core.OutputTensor;
import dev.segexport.core.SegmentationException;
import java.io.File;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.tensorflow.lite.Interpreter;
import org.tensorflow.lite.Tensor;
import org.tensorflow.lite.TensorFlowLite;

/**
 * LiteRT (TensorFlow Lite). Its library comes from Google's Maven repository. On the CPU it computes with XNNPACK, which
 * is its default; {@code builtin} are its own kernels, {@code nnapi} is Android's interface to accelerators.
 */
public final class LiteRtBackend implements Backend {
    @Override
    public String name() {
        return "LiteRT";
    }

    @Override
    public String format() {
        return "litert";
    }

    @Override
    public List<String> providers() {
        return Arrays.asList(CPU, "builtin", "nnapi");
    }

    @Override
    public Session open(File model, Manifest manifest, int threads) throws SegmentationException {
        return open(model, manifest, threads, CPU);
    }

    @Override
    public Session open(File model, Manifest manifest, int threads, String provider) throws SegmentationException {
        if (!providers().contains(provider)) {
            throw new SegmentationException(
                    SegmentationException.Kind.PROVIDER_MISSING,
                    "LiteRT has no provider " + provider + ", it has " + providers());
        }
        Interpreter interpreter = null;
        try {
            Interpreter.Options options = new Interpreter.Options().setNumThreads(threads);
            if (provider.equals("builtin")) {
                options.setUseXNNPACK(false);
            } else if (provider.equals("nnapi")) {
                options.setUseNNAPI(true);
            }
            interpreter = new Interpreter(model, options);
            interpreter.allocateTensors();
            return new LiteRtModel(interpreter, manifest);
        } catch (IllegalArgumentException | IllegalStateException error) {
            if (interpreter != null) {
                interpreter.close();
            }
            throw new SegmentationException(
                    SegmentationException.Kind.MODEL_REFUSED,
                    "LiteRT cannot load " + manifest.modelFile + (provider.equals(CPU) ? "" : " on " + provider) + ": "
                            + error.getMessage(), error);
        }
    }

    private static final class LiteRtModel implements Session {
        private final Interpreter interpreter;
        private final boolean channelsLast;
        private final ByteBuffer input;
        private final Map<Integer, Object> outputs = new HashMap<>();
        private final ByteBuffer answer;
        private final Tensor mask;

        LiteRtModel(Interpreter interpreter, Manifest manifest) {
            this.interpreter = interpreter;
            channelsLast = manifest.input.layout.equals("NHWC");
            input = buffer(interpreter.getInputTensor(0));
            mask = interpreter.getOutputTensor(manifest.maskOutput);
            answer = buffer(mask);
            outputs.put(manifest.maskOutput, answer);
        }

        private static ByteBuffer buffer(Tensor tensor) {
            return ByteBuffer.allocateDirect(tensor.numBytes()).order(ByteOrder.nativeOrder());
        }

        @Override
        public String version() {
            return TensorFlowLite.runtimeVersion();
        }

        @Override
        public OutputTensor run(float[] nchw, int height, int width) throws SegmentationException {
            FloatBuffer floats = input.asFloatBuffer();
            if (floats.capacity() != nchw.length) {
                throw new SegmentationException(
                        SegmentationException.Kind.RUN_FAILED, "LiteRT: the model takes " + floats.capacity()
                                + " numbers, " + width + "x" + height + " pixels are " + nchw.length);
            }
            floats.put(channelsLast ? interleaved(nchw, height * width) : nchw);
            input.rewind();
            answer.rewind();
            try {
                interpreter.runForMultipleInputsOutputs(new Object[] {input}, outputs);
            } catch (IllegalArgumentException | IllegalStateException error) {
                throw new SegmentationException(
                        SegmentationException.Kind.RUN_FAILED, "LiteRT: " + error.getMessage(), error);
            }
            answer.rewind();
            return new OutputTensor(array(), shape());
        }

        /** Planes of channels to pixels with all their channels. */
        private static float[] interleaved(float[] planes, int pixels) {
            int channels = planes.length / pixels;
            float[] interleaved = new float[planes.length];
            for (int channel = 0; channel < channels; channel++) {
                int plane = channel * pixels;
                for (int pixel = 0, to = channel; pixel < pixels; pixel++, to += channels) {
                    interleaved[to] = planes[plane + pixel];
                }
            }
            return interleaved;
        }

        private long[] shape() {
            int[] sizes = mask.shape();
            long[] shape = new long[sizes.length];
            for (int i = 0; i < sizes.length; i++) {
                shape[i] = sizes[i];
            }
            return shape;
        }

        private Object array() throws SegmentationException {
            switch (mask.dataType()) {
                case FLOAT32:
                    float[] floats = new float[answer.remaining() / 4];
                    answer.asFloatBuffer().get(floats);
                    return floats;
                case INT32:
                    int[] ints = new int[answer.remaining() / 4];
                    answer.asIntBuffer().get(ints);
                    return ints;
                case INT64:
                    long[] longs = new long[answer.remaining() / 8];
                    answer.asLongBuffer().get(longs);
                    return longs;
                case UINT8:
                case INT8:
                    byte[] bytes = new byte[answer.remaining()];
                    answer.get(bytes);
                    return bytes;
                default:
                    throw new SegmentationException(
                            SegmentationException.Kind.UNSUPPORTED, "the model answers with " + mask.dataType());
            }
        }

        @Override
        public void close() {
            interpreter.close();
        }
    }
}
