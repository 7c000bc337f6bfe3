package dev.segexport.core;

/** The probability of each class in each pixel, at the size of the model's answer. */
final class Scores {
    final int width;
    final int height;
    /** An array for each class, row by row. */
    final float[][] planes;

    Scores(int width, int height, float[][] planes) {
        this.width = width;
        this.height = height;
        this.planes = planes;
    }

    /** The foreground, smoothed where there is a smoother. Of two classes, the second's score alone is smoothed. */
    Matte matte(FloatImage grey, Placement placement, VideoSmoother smoother, int[] foreground, double inferenceMs)
            throws SegmentationException {
        float[][] smooth = planes;
        if (smoother != null) {
            requireSize();
            float[][] given = planes.length == 2 ? new float[][] {planes[1]} : planes;
            smooth = smoother.next(given, levels(Matte.resized(grey, width, height)), width, height);
        }
        float[] front = new float[width * height];
        for (int c = 0; c < planes.length; c++) {
            if (isIn(foreground, c)) {
                for (int i = 0; i < front.length; i++) {
                    front[i] += smooth.length == planes.length ? smooth[c][i] : c == 1 ? smooth[0][i] : 1f - smooth[0][i];
                }
            }
        }
        return new Matte(width, height, VideoSmoother.alpha(front, width, height), placement, inferenceMs);
    }

    private void requireSize() throws SegmentationException {
        if (Math.min(width, height) < VideoSmoother.MIN_SIDE) {
            throw new SegmentationException(
                    SegmentationException.Kind.UNSUPPORTED,
                    "an answer of " + width + "x" + height + " is too small for optical flow, which needs "
                            + VideoSmoother.MIN_SIDE + " pixels on a side");
        }
    }

    private static boolean isIn(int[] foreground, int c) {
        if (foreground.length == 0) {
            return c != 0;
        }
        for (int wanted : foreground) {
            if (wanted == c) {
                return true;
            }
        }
        return false;
    }

    private static byte[] levels(FloatImage grey) {
        byte[] levels = new byte[grey.data.length];
        for (int i = 0; i < levels.length; i++) {
            levels[i] = (byte) Math.rint(Math.max(0, Math.min(255, grey.data[i])));
        }
        return levels;
    }
}
