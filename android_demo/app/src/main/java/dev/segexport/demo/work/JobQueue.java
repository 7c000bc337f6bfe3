package dev.segexport.demo.work;

import dev.segexport.core.SegmentationException;
import java.io.IOException;
import java.util.concurrent.Executor;

/**
 * Does jobs one after the other on a worker, counts those that are not done, and gives every failure a kind. All its
 * methods are called on the screen's thread, and so is the listener.
 */
public final class JobQueue {
    /** Work whose failure is shown instead of a result; on the worker. */
    public interface Job {
        void run() throws SegmentationException, IOException;
    }

    private final Executor worker;
    private final Executor screen;
    private final Runnable changed;
    private int pending;
    private SegmentationException error;

    /**
     * @param worker runs one thing at a time, in order
     * @param screen runs things on the screen's thread, in order
     * @param changed told when a job was added and when one was done
     */
    public JobQueue(Executor worker, Executor screen, Runnable changed) {
        this.worker = worker;
        this.screen = screen;
        this.changed = changed;
    }

    /** Whether a job waits or runs. */
    public boolean busy() {
        return pending > 0;
    }

    /** What the last failure was; null after a success of a job that was added when this was known already. */
    public SegmentationException error() {
        return error;
    }

    public void add(final Job job) {
        final SegmentationException known = error;
        pending++;
        changed.run();
        worker.execute(() -> {
            SegmentationException failure = failureOf(job);
            screen.execute(() -> {
                pending--;
                if (failure != null || error == known) {
                    error = failure;
                }
                changed.run();
            });
        });
    }

    /** Runs the job; a failure of any kind must not end the worker, and with it the app. */
    private static SegmentationException failureOf(Job job) {
        try {
            job.run();
            return null;
        } catch (SegmentationException problem) {
            return problem;
        } catch (IOException problem) {
            return new SegmentationException(
                    SegmentationException.Kind.BAD_IMAGE, String.valueOf(problem.getMessage()), problem);
        } catch (OutOfMemoryError problem) {
            return new SegmentationException(
                    SegmentationException.Kind.OUT_OF_MEMORY, "not enough memory", problem);
        } catch (RuntimeException | LinkageError problem) {
            return new SegmentationException(SegmentationException.Kind.RUN_FAILED, problem.toString(), problem);
        }
    }
}
