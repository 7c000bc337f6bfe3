package org.tensorflow.lite;

import java.io.File;
import java.nio.ByteBuffer;
import java.util.Map;

/**
 * A double of LiteRT with its habits: exceptions for a file that it cannot read, buffers of the exact size, images with
 * the channels last. Its "model" of 2x1 pixels answers class 1 where the red channel is above 0.
 */
public final class Interpreter implements AutoCloseable {
    public static class Options {
        int threads;
        boolean xnnpack = true;
        boolean nnapi;

        public Options setNumThreads(int numThreads) {
            threads = numThreads;
            return this;
        }

        public Options setUseXNNPACK(boolean useXNNPACK) {
            xnnpack = useXNNPACK;
            return this;
        }

        public Options setUseNNAPI(boolean useNNAPI) {
            nnapi = useNNAPI;
            return this;
        }
    }

    private static final int PIXELS = 2, CHANNELS = 3, CLASSES = 2;
    public static Interpreter last;
    /** The type that the answer has: FLOAT32 (scores of 2 classes) or a type of integers (a mask). */
    public static DataType answers = DataType.FLOAT32;
    public static boolean runs = true;

    public final int threads;
    public final boolean xnnpack;
    public final boolean nnapi;

    public Interpreter(File modelFile, Options options) {
        if (modelFile.length() == 0) {
            throw new IllegalArgumentException("the model is not a valid Flatbuffer");
        }
        threads = options.threads;
        xnnpack = options.xnnpack;
        nnapi = options.nnapi;
        last = this;
    }

    public void allocateTensors() {}

    public Tensor getInputTensor(int inputIndex) {
        return tensor(DataType.FLOAT32, 4, 1, 1, PIXELS, CHANNELS);
    }

    public Tensor getOutputTensor(int outputIndex) {
        int size = answers == DataType.INT64 ? 8 : answers == DataType.UINT8 || answers == DataType.INT8 ? 1 : 4;
        return answers == DataType.FLOAT32
                ? tensor(answers, size, 1, 1, PIXELS, CLASSES)
                : tensor(answers, size, 1, 1, PIXELS);
    }

    private static Tensor tensor(DataType type, int size, int... shape) {
        int elements = 1;
        for (int one : shape) {
            elements *= one;
        }
        int bytes = elements * size;
        return new Tensor() {
            @Override
            public DataType dataType() {
                return type;
            }

            @Override
            public int numBytes() {
                return bytes;
            }

            @Override
            public int[] shape() {
                return shape;
            }
        };
    }

    public void runForMultipleInputsOutputs(Object[] inputs, Map<Integer, Object> outputs) {
        if (!runs) {
            throw new IllegalArgumentException("Internal error: Failed to run on the given Interpreter");
        }
        ByteBuffer input = (ByteBuffer) inputs[0], output = (ByteBuffer) outputs.get(0);
        if (input.remaining() != getInputTensor(0).numBytes() || output.remaining() != getOutputTensor(0).numBytes()) {
            throw new IllegalArgumentException("Cannot copy to a TensorFlowLite tensor of another size");
        }
        for (int pixel = 0; pixel < PIXELS; pixel++) {
            float red = input.getFloat(pixel * CHANNELS * 4);
            switch (answers) {
                case FLOAT32:
                    output.putFloat(0).putFloat(red);
                    break;
                case INT32:
                    output.putInt(red > 0 ? 1 : 0);
                    break;
                case INT64:
                    output.putLong(red > 0 ? 1 : 0);
                    break;
                default:
                    output.put((byte) (red > 0 ? 1 : 0));
            }
        }
    }

    @Override
    public void close() {}
}
