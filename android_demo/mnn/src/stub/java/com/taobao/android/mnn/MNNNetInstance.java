package com.taobao.android.mnn;

import android.content.Context;

public class MNNNetInstance {
    private MNNNetInstance() {}

    public static MNNNetInstance createFromFile(Context context, String fileName) {
        throw new UnsupportedOperationException();
    }

    public static class Config {
        public int forwardType;
        public int numThread;
    }

    public class Session {
        private Session() {}

        public class Tensor {
            private Tensor() {}

            public void reshape(int[] dims) {}

            public void setInputFloatData(float[] data) {}

            public int[] getDimensions() {
                throw new UnsupportedOperationException();
            }

            public float[] getFloatData() {
                throw new UnsupportedOperationException();
            }

            public int[] getIntData() {
                throw new UnsupportedOperationException();
            }

            public byte[] getUINT8Data() {
                throw new UnsupportedOperationException();
            }
        }

        public void reshape() {}

        public void run() {}

        public Tensor getInput(String name) {
            throw new UnsupportedOperationException();
        }

        public Tensor getOutput(String name) {
            throw new UnsupportedOperationException();
        }
    }

    public Session createSession(Config config) {
        throw new UnsupportedOperationException();
    }

    public void release() {}
}
