package com.baidu.paddle.lite;

public class PaddlePredictor {
    PaddlePredictor() {}

    public static PaddlePredictor createPaddlePredictor(ConfigBase config) {
        throw new UnsupportedOperationException("stub");
    }

    public Tensor getInput(int offset) {
        throw new UnsupportedOperationException("stub");
    }

    public Tensor getOutput(int offset) {
        throw new UnsupportedOperationException("stub");
    }

    public boolean run() {
        throw new UnsupportedOperationException("stub");
    }

    public String getVersion() {
        throw new UnsupportedOperationException("stub");
    }
}
