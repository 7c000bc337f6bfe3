package com.baidu.paddle.lite;

public class MobileConfig extends ConfigBase {
    public void setModelFromFile(String modelFile) {
        throw new UnsupportedOperationException("stub");
    }

    public void setThreads(int threads) {
        throw new UnsupportedOperationException("stub");
    }

    public void setPowerMode(PowerMode powerMode) {
        throw new UnsupportedOperationException("stub");
    }
}
