package com.baidu.paddle.lite;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/** Holds bytes of one type; read as another type they are reinterpreted, as the real one does. */
public class Tensor {
    long[] shape;
    double[] values;
    String type = "float32";

    public boolean resize(long[] dims) {
        shape = dims;
        return true;
    }

    public boolean setData(float[] data) {
        long expected = 1;
        for (long size : shape) {
            expected *= size;
        }
        values = new double[data.length];
        for (int i = 0; i < data.length; i++) {
            values[i] = data[i];
        }
        return data.length == expected;
    }

    public long[] shape() {
        return shape;
    }

    private ByteBuffer bytes(int readAs) {
        // As many numbers of the wanted size as there are elements; what lies beyond the real bytes is garbage.
        int size = type.equals("int64") ? 8 : type.equals("uint8") ? 1 : 4;
        ByteBuffer bytes = ByteBuffer.allocate(values.length * Math.max(size, readAs)).order(ByteOrder.LITTLE_ENDIAN);
        for (double value : values) {
            if (type.equals("float32")) {
                bytes.putFloat((float) value);
            } else if (type.equals("int32")) {
                bytes.putInt((int) value);
            } else if (type.equals("int64")) {
                bytes.putLong((long) value);
            } else {
                bytes.put((byte) value);
            }
        }
        bytes.position(0);
        return bytes;
    }

    public float[] getFloatData() {
        float[] data = new float[values.length];
        bytes(4).asFloatBuffer().get(data);
        return data;
    }

    public byte[] getByteData() {
        byte[] data = new byte[values.length];
        bytes(1).get(data);
        return data;
    }

    public int[] getIntData() {
        int[] data = new int[values.length];
        bytes(4).asIntBuffer().get(data);
        return data;
    }

    public long[] getLongData() {
        long[] data = new long[values.length];
        bytes(8).asLongBuffer().get(data);
        return data;
    }
}
