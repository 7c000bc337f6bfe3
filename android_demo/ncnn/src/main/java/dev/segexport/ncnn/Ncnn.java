package dev.segexport.ncnn;

/** What src/main/cpp does with ncnn's C API, for which ncnn has no Java classes. */
final class Ncnn {
    static final int FP32 = 0, FP16 = 1, BF16 = 2;

    static {
        System.loadLibrary("segexport_ncnn");
    }

    private Ncnn() {}

    static native String version();

    /** Loads a network that keeps its floats as {@code floats} says; 0 where ncnn refuses it. */
    static native long open(String param, String bin, int threads, int floats);

    /**
     * Runs the network on planes of height x width.
     *
     * @param shape becomes the answer's number of axes, width, height, depth and channels
     * @return the answer without gaps; null: shape[0] is ncnn's code
     */
    static native float[] run(long net, String input, String output, float[] planes, int height, int width, int[] shape);

    static native void close(long net);
}
