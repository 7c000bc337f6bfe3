package com.baidu.paddle.lite;

public class ConfigBase {
    String modelFile;
    int threads;
    PowerMode powerMode;
}
