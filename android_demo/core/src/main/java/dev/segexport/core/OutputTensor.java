package dev.segexport.core;

/** What a backend gives back: one of float[], byte[] (uint8 or int8), int[] or long[], and its shape. */
public final class OutputTensor {
    private final Object data;
    final long[] shape;

    /** Keeps {@code data}, does not copy it. */
    public OutputTensor(Object data, long[] shape) throws SegmentationException {
        int length = data instanceof float[] ? ((float[]) data).length
                : data instanceof byte[] ? ((byte[]) data).length
                : data instanceof int[] ? ((int[]) data).length
                : data instanceof long[] ? ((long[]) data).length : -1;
        long expected = 1;
        for (long size : shape) {
            expected *= size;
        }
        if (length < 1 || length != expected) {
            throw new SegmentationException(
                    SegmentationException.Kind.RUN_FAILED,
                    "the model's answer has " + length + " values, its shape is " + java.util.Arrays.toString(shape));
        }
        this.data = data;
        this.shape = shape;
    }

    /** The array itself. */
    public Object data() {
        return data;
    }
}
