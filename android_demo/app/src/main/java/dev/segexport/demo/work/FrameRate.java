package dev.segexport.demo.work;

/** Frames a second, of a count that grows. */
public final class FrameRate {
    private long lastCount;
    private long lastNanos;
    private double rate;

    /** @param nanos now, as {@code System.nanoTime} tells it */
    public FrameRate(long nanos) {
        lastNanos = nanos;
    }

    /** The rate between this call and the one before; the last one again where no time has passed. */
    public double at(long count, long nanos) {
        if (nanos > lastNanos) {
            rate = (count - lastCount) * 1e9 / (nanos - lastNanos);
            lastCount = count;
            lastNanos = nanos;
        }
        return rate;
    }
}
