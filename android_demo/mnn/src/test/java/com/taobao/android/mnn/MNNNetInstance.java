package com.taobao.android.mnn;

import android.content.Context;
import java.io.File;
import java.util.Locale;

/**
 * A test double: class 1 where the first channel is above 127. As MNN's own, it checks no size; what would write over
 * foreign memory is an error of the test.
 */
public class MNNNetInstance {
    /** The data type of the answer. */
    public static String answers = "float32";
    /** False: an operator is missing. */
    public static boolean knows = true;
    /** False: the model keeps its size, whatever it is asked for. */
    public static boolean resizes = true;
    public static int threads;
    public static int released;

    private MNNNetInstance() {}

    public static MNNNetInstance createFromFile(Context context, String fileName) {
        return new File(fileName).length() == 0 ? null : new MNNNetInstance();
    }

    public static class Config {
        public int forwardType = -1;
        public int numThread = 4;
    }

    public class Session {
        private int[] input = {1, 3, 7, 7};
        private int[] asked = input;
        private float[] data;

        public class Tensor {
            private final boolean isInput;

            private Tensor(boolean isInput) {
                this.isInput = isInput;
            }

            public void reshape(int[] dims) {
                asked = resizes ? dims : asked;
            }

            public void setInputFloatData(float[] given) {
                if (given.length != input[0] * input[1] * input[2] * input[3]) {
                    throw new AssertionError("it writes over foreign memory");
                }
                data = given;
            }

            public int[] getDimensions() {
                if (isInput) {
                    return input.clone();
                }
                return answers.equals("float32")
                        ? new int[] {1, 2, input[2], input[3]} : new int[] {1, input[2], input[3]};
            }

            private boolean isRed(int pixel) {
                return data[pixel] > 127;
            }

            private int pixels() {
                return input[2] * input[3];
            }

            public float[] getFloatData() {
                require("float32");
                float[] scores = new float[2 * pixels()];
                for (int i = 0; i < pixels(); i++) {
                    scores[pixels() + i] = isRed(i) ? 1 : -1;
                }
                return scores;
            }

            public int[] getIntData() {
                require("int32");
                int[] classes = new int[pixels()];
                for (int i = 0; i < pixels(); i++) {
                    classes[i] = isRed(i) ? 1 : 0;
                }
                return classes;
            }

            public byte[] getUINT8Data() {
                require("uint8");
                byte[] classes = new byte[pixels()];
                for (int i = 0; i < pixels(); i++) {
                    classes[i] = (byte) (isRed(i) ? 1 : 0);
                }
                return classes;
            }

            private void require(String dtype) {
                if (!answers.toLowerCase(Locale.ROOT).equals(dtype)) {
                    throw new AssertionError(answers + " was read as " + dtype);
                }
            }
        }

        public void reshape() {
            input = asked;
        }

        public void run() {}

        public Tensor getInput(String name) {
            return name.equals("x") ? new Tensor(true) : null;
        }

        public Tensor getOutput(String name) {
            return name.equals("y") ? new Tensor(false) : null;
        }
    }

    public Session createSession(Config config) {
        if (config.forwardType != MNNForwardType.FORWARD_CPU.type) {
            throw new AssertionError("not on the CPU");
        }
        threads = config.numThread;
        return knows ? new Session() : null;
    }

    public void release() {
        released++;
    }
}
