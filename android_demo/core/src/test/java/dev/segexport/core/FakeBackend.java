package dev.segexport.core;

import java.io.File;
import java.util.HashSet;
import java.util.Set;

/** Class 1 where red is above 127; or the failure that it was told to have. */
final class FakeBackend implements Backend {
    final Set<String> threads = new HashSet<>();
    Throwable onOpen;
    Throwable onRun;
    volatile boolean closed;

    @Override
    public String name() {
        return "Fake";
    }

    @Override
    public String format() {
        return "onnx";
    }

    @SuppressWarnings("unchecked")
    private static <T extends Throwable> void fail(Throwable error) throws T {
        if (error != null) {
            throw (T) error;
        }
    }

    @Override
    public Session open(File model, Manifest manifest, int wanted) {
        threads.add(Thread.currentThread().getName());
        FakeBackend.<RuntimeException>fail(onOpen);
        return new Session() {
            @Override
            public String version() {
                return "1.0";
            }

            @Override
            public OutputTensor run(float[] nchw, int height, int width) throws SegmentationException {
                threads.add(Thread.currentThread().getName());
                FakeBackend.<RuntimeException>fail(onRun);
                int plane = height * width;
                float[] scores = new float[2 * plane];
                for (int i = 0; i < plane; i++) {
                    scores[i] = 127.5f;
                    scores[plane + i] = nchw[i];
                }
                return new OutputTensor(scores, new long[] {1, 2, height, width});
            }

            @Override
            public void close() {
                threads.add(Thread.currentThread().getName());
                closed = true;
            }
        };
    }
}
