package com.baidu.paddle.lite;

public class Tensor {
    Tensor() {}

    public boolean resize(long[] dims) {
        throw new UnsupportedOperationException("stub");
    }

    public boolean setData(float[] data) {
        throw new UnsupportedOperationException("stub");
    }

    public long[] shape() {
        throw new UnsupportedOperationException("stub");
    }

    public float[] getFloatData() {
        throw new UnsupportedOperationException("stub");
    }

    public byte[] getByteData() {
        throw new UnsupportedOperationException("stub");
    }

    public int[] getIntData() {
        throw new UnsupportedOperationException("stub");
    }

    public long[] getLongData() {
        throw new UnsupportedOperationException("stub");
    }
}
