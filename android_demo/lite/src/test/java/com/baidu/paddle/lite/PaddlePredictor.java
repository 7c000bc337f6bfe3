package com.baidu.paddle.lite;

import java.io.File;

/**
 * A double of Paddle-Lite with its habits: no predictor for a file that it cannot read, false instead of an exception,
 * every tensor readable as every type. Its "model" answers class 1 where the red channel is above 0.
 */
public class PaddlePredictor {
    public static PaddlePredictor last;
    /** The type that the answer really has: float32 (scores of 2 classes), int32, int64 or uint8 (a mask). */
    public static String answers = "float32";
    public static boolean runs = true;

    public final ConfigBase config;
    final Tensor input = new Tensor();
    final Tensor output = new Tensor();

    PaddlePredictor(ConfigBase config) {
        this.config = config;
    }

    public static PaddlePredictor createPaddlePredictor(ConfigBase config) {
        last = new File(config.modelFile).length() > 0 ? new PaddlePredictor(config) : null;
        return last;
    }

    public int threads() {
        return config.threads;
    }

    public Tensor getInput(int offset) {
        return input;
    }

    public Tensor getOutput(int offset) {
        return output;
    }

    public boolean run() {
        int plane = (int) (input.shape[2] * input.shape[3]);
        boolean scores = answers.equals("float32");
        output.shape = scores
                ? new long[] {1, 2, input.shape[2], input.shape[3]}
                : new long[] {1, input.shape[2], input.shape[3]};
        output.type = answers;
        output.values = new double[scores ? 2 * plane : plane];
        for (int i = 0; i < plane; i++) {
            output.values[scores ? plane + i : i] = scores ? input.values[i] : input.values[i] > 0 ? 1 : 0;
        }
        return runs;
    }

    public String getVersion() {
        return "double";
    }
}
