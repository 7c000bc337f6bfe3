package dev.segexport.demo.work;

import dev.segexport.core.SegmentationException;
import java.util.Arrays;

/** Runs something again and again, until it was run often enough or somebody stops it. */
public final class Benchmark {
    /** Runs once; returns the milliseconds. */
    public interface Run {
        double once() throws SegmentationException;
    }

    private final int runs;
    private volatile boolean stopped;

    public Benchmark(int runs) {
        this.runs = runs;
    }

    /** Ends it after the run that is under way; from any thread. */
    public void stop() {
        stopped = true;
    }

    /** Returns the milliseconds of each run after the first, which warms up; of fewer where it was stopped. */
    public double[] measure(Run run) throws SegmentationException {
        double[] times = new double[runs];
        int done = 0;
        if (!stopped) {
            run.once();
        }
        while (done < runs && !stopped) {
            times[done++] = run.once();
        }
        return Arrays.copyOf(times, done);
    }
}
