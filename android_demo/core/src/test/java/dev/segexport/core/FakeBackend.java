package dev.segexport.core;

import java.io.File;
import java.util.Collections;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicInteger;

/** Class 1 where red is above 127; or the failure that it was told to have. */
final class FakeBackend implements Backend {
    final Set<String> threads = new HashSet<>();
    Throwable onOpen;
    Throwable onRun;
    Throwable onClose;
    volatile Runnable onEachRun = () -> {};
    /** Provider after provider; those in {@code broken} cannot be opened. */
    List<String> providers = Collections.singletonList(CPU);
    final Map<String, Throwable> broken = new HashMap<>();
    String opened;
    volatile boolean closed;
    final AtomicInteger runs = new AtomicInteger();
    /** A run waits for it, if it is not null; {@code cancel} opens it. */
    volatile CountDownLatch hold;
    final CountDownLatch held = new CountDownLatch(1);

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
    public List<String> providers() {
        FakeBackend.<RuntimeException>fail(broken.get("library"));
        return providers;
    }

    @Override
    public Session open(File model, Manifest manifest, int wanted, String provider) throws SegmentationException {
        opened = provider;
        if (!providers.contains(provider)) {
            throw new SegmentationException(SegmentationException.Kind.PROVIDER_MISSING, "no " + provider);
        }
        FakeBackend.<RuntimeException>fail(broken.get(provider));
        return open(model, manifest, wanted);
    }

    @Override
    public Map<String, Integer> operators(
            File model, Manifest manifest, String provider, float[] nchw, int height, int width, File scratch) {
        return Collections.singletonMap(provider, nchw.length);
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
                runs.incrementAndGet();
                onEachRun.run();
                FakeBackend.<RuntimeException>fail(onRun);
                waitForHold();
                int plane = height * width;
                float[] scores = new float[2 * plane];
                for (int i = 0; i < plane; i++) {
                    scores[i] = 127.5f;
                    scores[plane + i] = nchw[i];
                }
                return new OutputTensor(scores, new long[] {1, 2, height, width});
            }

            private void waitForHold() throws SegmentationException {
                CountDownLatch waitsFor = hold;
                if (waitsFor != null) {
                    held.countDown();
                    try {
                        waitsFor.await();
                    } catch (InterruptedException error) {
                        throw new AssertionError(error);
                    }
                    throw new SegmentationException(SegmentationException.Kind.RUN_FAILED, "ended");
                }
            }

            @Override
            public void cancel() {
                hold.countDown();
            }

            @Override
            public void close() {
                threads.add(Thread.currentThread().getName());
                closed = true;
                FakeBackend.<RuntimeException>fail(onClose);
            }
        };
    }
}
