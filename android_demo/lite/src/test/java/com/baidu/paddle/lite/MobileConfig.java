package com.baidu.paddle.lite;

public class MobileConfig extends ConfigBase {
    public void setModelFromFile(String modelFile) {
        this.modelFile = modelFile;
    }

    public void setThreads(int threads) {
        this.threads = threads;
    }

    public void setPowerMode(PowerMode powerMode) {
        this.powerMode = powerMode;
    }
}
