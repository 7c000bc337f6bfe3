package dev.segexport.core;

/** Computes optical flow between two grey frames. {@link BlockFlow} is one; a library of your app may be another. */
public interface Flow {
    /**
     * Works out where each pixel of {@code previous} moves to in {@code current}.
     *
     * @param previous grey levels, row by row
     * @param flow receives x and y of each pixel's motion in pixels, two numbers for each pixel
     */
    void between(byte[] previous, byte[] current, int width, int height, float[] flow);
}
