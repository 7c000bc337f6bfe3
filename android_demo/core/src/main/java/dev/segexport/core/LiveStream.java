package dev.segexport.core;

/**
 * Segments a camera's pictures as fast as the model allows, on a thread of its own. A picture that comes while the model
 * runs waits; a newer one replaces it, so that the answer is never older than one inference. The last answer is drawn
 * over every picture of the preview, also over those that were not segmented.
 *
 * <p>A model of two classes is a portrait's: its foreground is smoothed from picture to picture, see
 * {@link VideoSmoother}. Camera and screen use one thread for {@link #blank}, {@link #draw} and {@link #offer}; the
 * other methods may be called from any.
 */
public final class LiveStream implements AutoCloseable {
    /** Told on the stream's thread. */
    public interface Listener {
        /** A picture could not be segmented; the stream has ended. */
        void failed(SegmentationException error);
    }

    /** What the stream has done so far. */
    public static final class Counts {
        public final long offered;
        /** Pictures that a newer one replaced before the model was free. */
        public final long dropped;
        public final long segmented;
        /** Of the last picture: from the picture to the answer at its size, the model's run included. */
        public final double answerMs;

        Counts(long offered, long dropped, long segmented, double answerMs) {
            this.offered = offered;
            this.dropped = dropped;
            this.segmented = segmented;
            this.answerMs = answerMs;
        }
    }

    /** An answer at its picture's size: classes, or for a portrait the foreground's opacity. */
    private static final class Answer {
        final int width;
        final int height;
        final Mask mask;
        final float[] alpha;

        Answer(int width, int height, Mask mask, float[] alpha) {
            this.width = width;
            this.height = height;
            this.mask = mask;
            this.alpha = alpha;
        }
    }

    private final Segmenter segmenter;
    private final Listener listener;
    private final VideoSmoother smoother;
    private final int[] palette;
    private final NewestFrame<ArgbPixels> frames = new NewestFrame<>();
    private final Thread thread;
    private volatile Answer last;
    private volatile long segmented;
    private volatile double answerMs;

    /** Starts the thread. The segmenter stays the caller's, and must not be closed before the stream. */
    public LiveStream(Segmenter segmenter, Listener listener) {
        this.segmenter = segmenter;
        this.listener = listener;
        smoother = isPortrait(segmenter.manifest()) ? new VideoSmoother() : null;
        palette = Overlay.palette(segmenter.manifest());
        thread = new Thread(new Runnable() {
            @Override
            public void run() {
                work();
            }
        }, "live");
        thread.setDaemon(true);
        thread.start();
    }

    /** Whether the model tells a foreground from a background, and nothing else. */
    public static boolean isPortrait(Manifest manifest) {
        return manifest.labels.size() == 2;
    }

    /** An array of a picture's size to be filled and offered; used again once the stream is done with it. */
    public ArgbPixels blank(int width, int height) {
        ArgbPixels frame = frames.blank();
        boolean fits = frame != null && frame.width() == width && frame.height() == height;
        return fits ? frame : new ArgbPixels(new int[width * height], width, height);
    }

    /** The newest picture; returns at once. It must not be changed afterwards. */
    public void offer(ArgbPixels frame) {
        frames.offer(frame);
    }

    /**
     * The picture with the last answer over it: the classes' colours, or a portrait before {@code background}.
     *
     * @param opacity of the classes, 0 to 255; of a portrait, that of the new background
     * @param out receives 0xFFRRGGBB for each pixel
     * @return whether there was an answer for pictures of this size; if not, {@code out} is the picture
     */
    public boolean draw(ArgbPixels frame, int opacity, int background, int[] out) {
        Answer answer = last;
        int[] argb = frame.argb();
        if (answer == null || answer.width != frame.width() || answer.height != frame.height()) {
            System.arraycopy(argb, 0, out, 0, argb.length);
            return false;
        }
        if (answer.alpha != null) {
            Overlay.replace(argb, answer.alpha, background, opacity, out);
        } else {
            Overlay.blend(argb, answer.mask, palette, opacity, out);
        }
        return true;
    }

    public Counts counts() {
        return new Counts(frames.offered(), frames.dropped(), segmented, answerMs);
    }

    private void work() {
        try {
            for (ArgbPixels frame = frames.take(); frame != null; frame = frames.take()) {
                long started = System.nanoTime();
                last = answer(frame);
                answerMs = (System.nanoTime() - started) / 1e6;
                segmented++;
                frames.giveBack(frame);
            }
        } catch (SegmentationException error) {
            end(error);
        } catch (InterruptedException closed) {
            frames.close();
        } catch (OutOfMemoryError error) {
            end(new SegmentationException(
                    SegmentationException.Kind.OUT_OF_MEMORY, "not enough memory for a picture of this size", error));
        } catch (RuntimeException error) {
            end(new SegmentationException(SegmentationException.Kind.RUN_FAILED, error.toString(), error));
        }
    }

    private void end(SegmentationException error) {
        frames.close();
        if (error.kind() != SegmentationException.Kind.CLOSED && error.kind() != SegmentationException.Kind.CANCELLED) {
            listener.failed(error);
        }
    }

    private Answer answer(ArgbPixels frame) throws SegmentationException {
        if (smoother != null) {
            return new Answer(frame.width(), frame.height(), null, segmenter.follow(frame, smoother).restored());
        }
        Segmentation found = segmenter.segment(frame);
        Mask mask = Postprocess.restore(found.mask, found.placement);
        return new Answer(frame.width(), frame.height(), mask, null);
    }

    /** Ends the thread after the picture that is being segmented, and waits for it. May be called twice. */
    @Override
    public void close() {
        frames.close();
        boolean interrupted = false;
        while (thread.isAlive() && thread != Thread.currentThread()) {
            try {
                thread.join();
            } catch (InterruptedException again) {
                interrupted = true;
            }
        }
        if (interrupted) {
            Thread.currentThread().interrupt();
        }
    }
}
