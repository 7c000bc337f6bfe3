package dev.segexport.core;

import java.io.File;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.FutureTask;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.ThreadFactory;

/**
 * Owns a model. It is opened, run and closed on a separate thread, so that a caller may use this class from any
 * thread and close it at any time: a run that is under way ends first, and every call after it says CLOSED.
 *
 * <p>A caller whose thread is interrupted while it waits gets CANCELLED at once, and its image is not run if it was not
 * begun; a run that was begun is ended where the runtime can do that.
 */
public final class Segmenter implements AutoCloseable {
    private final ExecutorService thread = Executors.newSingleThreadExecutor(new ThreadFactory() {
        @Override
        public Thread newThread(Runnable work) {
            Thread made = new Thread(work, "segmenter");
            made.setDaemon(true);
            return made;
        }
    });
    private final Manifest manifest;
    private final Backend backend;
    private final int threads;
    private final String provider;
    private Backend.Session session;
    private double loadMs;
    private final Object turn = new Object();
    /** What the thread does, while it does it; guarded by {@link #turn}. */
    private Call<?> current;
    /** Whether the runtime runs; guarded by {@link #turn}. */
    private boolean running;

    private Segmenter(Backend backend, Manifest manifest, int threads, String provider) {
        this.backend = backend;
        this.manifest = manifest;
        this.threads = threads;
        this.provider = provider;
    }

    /**
     * Loads the model; takes as long as that takes.
     *
     * @throws SegmentationException MODEL_MISSING, MODEL_REFUSED, BACKEND_MISSING or UNSUPPORTED
     */
    public static Segmenter open(Backend backend, File model, Manifest manifest, int threads)
            throws SegmentationException {
        return open(backend, model, manifest, threads, Backend.CPU);
    }

    /**
     * The same on one of {@link Backend#providers}.
     *
     * @throws SegmentationException as above, or PROVIDER_MISSING
     */
    public static Segmenter open(
            final Backend backend, final File model, final Manifest manifest, final int threads, final String provider)
            throws SegmentationException {
        if (!backend.format().equals(manifest.format)) {
            throw new SegmentationException(
                    SegmentationException.Kind.UNSUPPORTED,
                    backend.name() + " runs " + backend.format() + ", this model is " + manifest.format);
        }
        if (!model.isFile()) {
            throw new SegmentationException(
                    SegmentationException.Kind.MODEL_MISSING, "there is no model file " + model.getName());
        }
        final Segmenter segmenter = new Segmenter(backend, manifest, threads, provider);
        try {
            segmenter.call(new Callable<Void>() {
                @Override
                public Void call() throws SegmentationException {
                    long started = System.nanoTime();
                    segmenter.session = backend.open(model, manifest, threads, provider);
                    segmenter.loadMs = (System.nanoTime() - started) / 1e6;
                    return null;
                }
            });
        } catch (SegmentationException error) {
            segmenter.close(); // also what is opened after its caller was interrupted
            throw error;
        }
        return segmenter;
    }

    /** Segments a picture and waits for the answer. */
    public Segmentation segment(final Pixels image) throws SegmentationException {
        return call(new Callable<Segmentation>() {
            @Override
            public Segmentation call() throws SegmentationException {
                long started = System.nanoTime();
                Placement placement = placed(image.width(), image.height());
                return run(manifest.preprocess.apply(image, placement), placement, started);
            }
        });
    }

    /** Segments an image of any number of channels, as the model takes, and waits for the answer. */
    public Segmentation segment(final FloatImage image) throws SegmentationException {
        return call(new Callable<Segmentation>() {
            @Override
            public Segmentation call() throws SegmentationException {
                long started = System.nanoTime();
                Placement placement = placed(image.width, image.height);
                return run(manifest.preprocess.apply(image, placement), placement, started);
            }
        });
    }

    /** Runs the model on an input that is preprocessed already, 1xCxHxW. */
    public Segmentation segment(final float[] nchw, final int height, final int width) throws SegmentationException {
        return call(new Callable<Segmentation>() {
            @Override
            public Segmentation call() throws SegmentationException {
                return run(nchw, height, width, null, System.nanoTime());
            }
        });
    }

    /**
     * Finds the foreground of the next frame of a video, and waits for it.
     *
     * @param smoother of this video; null: the frame for itself
     * @param foreground the classes in front; none: all but class 0
     */
    public Matte follow(final Pixels frame, final VideoSmoother smoother, final int... foreground)
            throws SegmentationException {
        return call(new Callable<Matte>() {
            @Override
            public Matte call() throws SegmentationException {
                Placement placement = placed(frame.width(), frame.height());
                int width = placement.tensorWidth();
                int height = placement.tensorHeight();
                float[] tensor = manifest.preprocess.apply(frame, placement);
                FloatImage grey = manifest.preprocess.grey(tensor, width, height);
                long fed = System.nanoTime();
                OutputTensor output = infer(tensor, height, width);
                double inferenceMs = (System.nanoTime() - fed) / 1e6;
                Scores scores = Postprocess.scores(output, manifest.mask(), manifest.labels.size());
                return scores.matte(grey, placement, smoother, foreground, inferenceMs);
            }
        });
    }

    private Placement placed(int width, int height) throws SegmentationException {
        Placement placement = manifest.preprocess.place(width, height);
        requireFit(placement);
        return placement;
    }

    private Segmentation run(float[] tensor, Placement placement, long started) throws SegmentationException {
        return run(tensor, placement.tensorHeight(), placement.tensorWidth(), placement, started);
    }

    private Segmentation run(float[] tensor, int height, int width, Placement placement, long started)
            throws SegmentationException {
        long fed = System.nanoTime();
        OutputTensor output = infer(tensor, height, width);
        long answered = System.nanoTime();
        Mask mask = Postprocess.mask(output, manifest.mask());
        return new Segmentation(mask, placement, started, fed, answered, System.nanoTime());
    }

    private OutputTensor infer(float[] tensor, int height, int width) throws SegmentationException {
        synchronized (turn) {
            if (current.isCancelled()) {
                throw cancelled(null);
            }
            running = true;
        }
        try {
            return session.run(tensor, height, width);
        } finally {
            synchronized (turn) {
                running = false;
            }
        }
    }

    public Manifest manifest() {
        return manifest;
    }

    public Backend backend() {
        return backend;
    }

    public int threads() {
        return threads;
    }

    /** What computes the model. */
    public String provider() {
        return provider;
    }

    public double loadMs() {
        return loadMs;
    }

    public String runtimeVersion() {
        return session.version();
    }

    /** Frees the model after the run that is under way, if any. May be called twice. */
    @Override
    public void close() {
        try {
            thread.execute(new Runnable() {
                @Override
                public void run() {
                    try {
                        if (session != null) {
                            session.close();
                        }
                    } catch (RuntimeException | LinkageError ignored) {
                        return; // nobody waits for it, and an exception that nobody catches ends an app
                    }
                }
            });
        } catch (RejectedExecutionException closedAlready) {
            return;
        }
        thread.shutdown();
    }

    private void requireFit(Placement placement) throws SegmentationException {
        if (manifest.input.shape.length != 4) {
            return;
        }
        long height = manifest.input.size('H'), width = manifest.input.size('W');
        boolean fits = (height <= 0 || height == placement.tensorHeight())
                && (width <= 0 || width == placement.tensorWidth());
        if (!fits) {
            throw new SegmentationException(
                    SegmentationException.Kind.UNSUPPORTED,
                    "an image of " + placement.imageWidth() + "x" + placement.imageHeight() + " becomes "
                            + placement.tensorWidth() + "x" + placement.tensorHeight() + ", the model takes "
                            + width + "x" + height);
        }
    }

    /** Work for the thread, which knows what it works on. */
    private final class Call<T> extends FutureTask<T> {
        Call(Callable<T> work) {
            super(work);
        }

        @Override
        public void run() {
            synchronized (turn) {
                current = this;
            }
            try {
                super.run();
            } finally {
                synchronized (turn) {
                    current = null;
                }
            }
        }

        void stop() {
            synchronized (turn) {
                cancel(false);
                if (current == this && running) {
                    session.cancel();
                }
            }
        }
    }

    private <T> T call(Callable<T> work) throws SegmentationException {
        Call<T> call = new Call<>(work);
        try {
            thread.execute(call);
            return call.get();
        } catch (RejectedExecutionException error) {
            throw new SegmentationException(SegmentationException.Kind.CLOSED, "the segmenter was closed", error);
        } catch (InterruptedException error) {
            call.stop();
            Thread.currentThread().interrupt();
            throw cancelled(error);
        } catch (ExecutionException error) {
            throw typed(error.getCause());
        }
    }

    private static SegmentationException cancelled(InterruptedException cause) {
        return new SegmentationException(
                SegmentationException.Kind.CANCELLED, "the thread that waited for the answer was interrupted", cause);
    }

    private SegmentationException typed(Throwable error) {
        if (error instanceof SegmentationException) {
            return (SegmentationException) error;
        }
        if (error instanceof OutOfMemoryError) {
            return new SegmentationException(
                    SegmentationException.Kind.OUT_OF_MEMORY, "not enough memory for this model and image", error);
        }
        if (error instanceof LinkageError) {
            return new SegmentationException(
                    SegmentationException.Kind.BACKEND_MISSING,
                    backend.name() + " is not part of this app (" + error.getMessage() + ")", error);
        }
        return new SegmentationException(
                SegmentationException.Kind.RUN_FAILED, backend.name() + " failed: " + error, error);
    }
}
