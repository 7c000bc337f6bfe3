package dev.segexport.core;

/** From the model's answer to a mask, and from the tensor's size back to the picture's. */
public final class Postprocess {
    private Postprocess() {}

    /**
     * The class of each pixel, at the size of the model's answer. Of equal scores the first class wins.
     *
     * @throws SegmentationException RUN_FAILED: NaN or infinity, class ids out of range, or not the shape of one mask
     */
    public static Mask mask(OutputTensor output, TensorSpec spec) throws SegmentationException {
        return spec.semantics.equals("class_index") ? ready(output) : best(output, spec);
    }

    /** A mask of the picture's size: paddings cut off, resizes undone by nearest neighbour. */
    public static Mask restore(Mask mask, Placement placement) {
        return restore(mask, placement, placement.imageWidth(), placement.imageHeight());
    }

    /** The same for a picture that is shown at another size, such as a preview. */
    public static Mask restore(Mask mask, Placement placement, int width, int height) {
        int[] columns = placement.columns(width, mask.width);
        int[] rows = placement.rows(height, mask.height);
        char[] ids = new char[width * height];
        int at = 0;
        for (int y = 0; y < height; y++) {
            int row = rows[y] * mask.width;
            for (int x = 0; x < width; x++) {
                ids[at++] = mask.ids[row + columns[x]];
            }
        }
        return new Mask(width, height, ids);
    }

    /**
     * The probability of each class, at the size of the model's answer; 0 and 1 where it answers with classes.
     *
     * @param classes as many classes as there are labels
     * @throws SegmentationException as {@link #mask}
     */
    static Scores scores(OutputTensor output, TensorSpec spec, int classes) throws SegmentationException {
        Mask mask = mask(output, spec); // refuses what is not the answer for one image
        int plane = mask.width * mask.height;
        if (spec.semantics.equals("class_index")) {
            float[][] planes = new float[classes][plane];
            for (int i = 0; i < plane; i++) {
                if (mask.ids[i] < classes) {
                    planes[mask.ids[i]][i] = 1f;
                }
            }
            return new Scores(mask.width, mask.height, planes);
        }
        float[] data = (float[]) output.data();
        int channels = data.length / plane;
        boolean last = spec.layout.endsWith("HWC");
        float[][] planes = new float[Math.max(channels, 2)][plane];
        for (int c = 0; c < channels; c++) {
            float[] to = planes[channels == 1 ? 1 : c];
            for (int i = 0; i < plane; i++) {
                to[i] = data[last ? i * channels + c : c * plane + i];
            }
        }
        boolean logits = !spec.semantics.equals("probability");
        for (int i = 0; i < plane; i++) {
            if (channels == 1) {
                float second = planes[1][i];
                planes[1][i] = logits ? (float) (1 / (1 + Math.exp(-second))) : second;
                planes[0][i] = 1f - planes[1][i];
            } else if (logits) {
                softmax(planes, i);
            }
        }
        return new Scores(mask.width, mask.height, planes);
    }

    private static void softmax(float[][] planes, int i) {
        float highest = planes[0][i];
        for (float[] plane : planes) {
            highest = Math.max(highest, plane[i]);
        }
        double sum = 0;
        for (float[] plane : planes) {
            plane[i] = (float) Math.exp(plane[i] - highest);
            sum += plane[i];
        }
        for (float[] plane : planes) {
            plane[i] /= (float) sum;
        }
    }

    private static Mask best(OutputTensor output, TensorSpec spec) throws SegmentationException {
        long[] shape = output.shape;
        int axes = shape.length;
        if (!(output.data() instanceof float[]) || axes < 3 || axes > 4 || axes == 4 && shape[0] != 1) {
            throw notOneMask(output);
        }
        float[] scores = (float[]) output.data();
        boolean last = spec.layout.endsWith("HWC");
        int classes = (int) shape[last ? axes - 1 : axes - 3];
        int height = (int) shape[last ? axes - 3 : axes - 2];
        int width = (int) shape[last ? axes - 2 : axes - 1];
        int plane = width * height;
        requireFinite(scores);
        char[] ids = new char[plane];
        if (classes == 1) {
            float threshold = spec.semantics.equals("probability") ? 0.5f : 0f;
            for (int i = 0; i < plane; i++) {
                ids[i] = (char) (scores[i] > threshold ? 1 : 0);
            }
        } else if (last) {
            for (int i = 0; i < plane; i++) {
                int winner = 0;
                for (int c = 1; c < classes; c++) {
                    winner = scores[i * classes + c] > scores[i * classes + winner] ? c : winner;
                }
                ids[i] = (char) winner;
            }
        } else {
            // Class by class reads memory in its order; `highest` holds the best score so far.
            float[] highest = java.util.Arrays.copyOf(scores, plane);
            for (int c = 1; c < classes; c++) {
                int base = c * plane;
                for (int i = 0; i < plane; i++) {
                    if (scores[base + i] > highest[i]) {
                        highest[i] = scores[base + i];
                        ids[i] = (char) c;
                    }
                }
            }
        }
        return new Mask(width, height, ids);
    }

    private static Mask ready(OutputTensor output) throws SegmentationException {
        long[] shape = output.shape;
        // Axes of size 1 are batch or channel; of what remains, two are wanted. A picture of one row keeps its last two.
        int[] real = new int[2];
        int count = 0;
        for (long size : shape) {
            if (size != 1) {
                if (count == 2) {
                    throw notOneMask(output);
                }
                real[count++] = (int) size;
            }
        }
        int height = real[0];
        int width = real[1];
        if (count < 2) {
            height = shape.length > 1 ? (int) shape[shape.length - 2] : 1;
            width = (int) shape[shape.length - 1];
        }
        char[] ids = new char[count == 0 ? 1 : width * height];
        for (int i = 0; i < ids.length; i++) {
            long id = at(output.data(), i);
            if (id < 0 || id > 65535) {
                throw new SegmentationException(
                        SegmentationException.Kind.RUN_FAILED, "the model answered with the class " + id);
            }
            ids[i] = (char) id;
        }
        return new Mask(count == 0 ? 1 : width, count == 0 ? 1 : height, ids);
    }

    private static long at(Object data, int i) throws SegmentationException {
        if (data instanceof byte[]) {
            return ((byte[]) data)[i] & 255;
        }
        if (data instanceof int[]) {
            return ((int[]) data)[i];
        }
        if (data instanceof long[]) {
            return ((long[]) data)[i];
        }
        float value = ((float[]) data)[i];
        if (Float.isNaN(value)) {
            throw notFinite();
        }
        return (long) value;
    }

    private static void requireFinite(float[] scores) throws SegmentationException {
        float sum = 0; // 0 * x is NaN for NaN and for infinity, else 0
        for (float score : scores) {
            sum += 0f * score;
        }
        if (sum != 0f) {
            throw notFinite();
        }
    }

    private static SegmentationException notFinite() {
        return new SegmentationException(
                SegmentationException.Kind.RUN_FAILED, "the model answered with NaN or infinity");
    }

    private static SegmentationException notOneMask(OutputTensor output) {
        return new SegmentationException(
                SegmentationException.Kind.RUN_FAILED,
                "an answer of " + output.data().getClass().getSimpleName() + java.util.Arrays.toString(output.shape)
                        + " is not that of one image");
    }
}
