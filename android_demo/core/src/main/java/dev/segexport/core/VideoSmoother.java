package dev.segexport.core;

import java.util.Arrays;

/**
 * Smooths the scores of a video frame by frame, so that masks do not flicker: the twin of segexport/video/smoother.py,
 * which has the method and its source. It keeps the last frame only. Not for several threads at once.
 */
public final class VideoSmoother {
    /** Optical flow needs as many pixels on a side. */
    public static final int MIN_SIDE = 16;

    private final Flow flow;
    private byte[] lastGrey;
    private float[][] last;
    private int lastWidth;
    private int lastHeight;

    public VideoSmoother() {
        this(new BlockFlow());
    }

    public VideoSmoother(Flow flow) {
        this.flow = flow;
    }

    /** Forgets the last frame: the next one begins another video. */
    public void reset() {
        lastGrey = null;
        last = null;
    }

    /**
     * Smooths the next frame. A frame of another size than the last one starts anew.
     *
     * @param scores probabilities from 0 to 1: of the foreground, one array; or an array for each class
     * @param grey grey levels of the frame at the size of the scores, row by row
     * @return as {@code scores}
     */
    public float[][] next(float[][] scores, byte[] grey, int width, int height) {
        if (grey.length != width * height || scores.length == 0 || scores[0].length != grey.length) {
            throw new IllegalArgumentException(grey.length + " grey levels are not " + width + "x" + height);
        }
        if (Math.min(width, height) < MIN_SIDE) {
            throw new IllegalArgumentException(
                    "scores of " + width + "x" + height + "; optical flow needs at least " + MIN_SIDE);
        }
        float[][] fused = scores;
        if (last != null && last.length == scores.length && lastWidth == width && lastHeight == height) {
            float[] forward = new float[2 * grey.length];
            float[] backward = new float[2 * grey.length];
            flow.between(lastGrey, grey, width, height, forward);
            flow.between(grey, lastGrey, width, height, backward);
            fused = fuse(scores, last, forward, backward, width, height);
        }
        float[][] smooth = new float[fused.length][];
        float[][] kept = new float[fused.length][];
        for (int c = 0; c < fused.length; c++) {
            smooth[c] = blurred(fused[c], width, height);
            kept[c] = smooth[c].clone();
        }
        lastGrey = grey.clone();
        last = kept;
        lastWidth = width;
        lastHeight = height;
        return smooth;
    }

    /** The opacity of the foreground, from 0 to 1: the smoothed score, blurred once more and stretched. */
    public static float[] alpha(float[] score, int width, int height) {
        float[] alpha = blurred(score, width, height);
        for (int i = 0; i < alpha.length; i++) {
            alpha[i] = Math.max(0f, Math.min(1f, (alpha[i] - 0.2f) / 0.6f));
        }
        return alpha;
    }

    private static float[][] fuse(
            float[][] scores, float[][] before, float[] forward, float[] backward, int width, int height) {
        int[] source = new int[width * height];
        boolean[] still = new boolean[source.length];
        Arrays.fill(source, -1);
        int at = 0;
        for (int y = 0; y < height; y++) {
            for (int x = 0; x < width; x++, at++) {
                int dx = whole(forward[2 * at]);
                int dy = whole(forward[2 * at + 1]);
                int toX = x + dx;
                int toY = y + dy;
                if (toX < 0 || toX >= width || toY < 0 || toY >= height) {
                    continue;
                }
                int to = toY * width + toX;
                int backX = whole(backward[2 * to]);
                int backY = whole(backward[2 * to + 1]);
                long errorX = (long) dx + backX;
                long errorY = (long) dy + backY;
                if (errorX * errorX + errorY * errorY < 8) {
                    source[to] = at; // of several that meet here, the last one stays
                    still[to] |= dx == 0 && dy == 0 && backX == 0 && backY == 0;
                }
            }
        }
        float[][] fused = new float[scores.length][];
        for (int c = 0; c < scores.length; c++) {
            fused[c] = scores[c].clone();
        }
        for (int i = 0; i < source.length; i++) {
            if (source[i] < 0) {
                continue;
            }
            float weight = certain(scores, i) ? (still[i] ? 0.3f : 0.4f) : (still[i] ? 0.05f : 0.3f);
            for (int c = 0; c < scores.length; c++) {
                fused[c][i] = weight * scores[c][i] + (1f - weight) * before[c][source[i]];
            }
        }
        return fused;
    }

    private static boolean certain(float[][] scores, int i) {
        if (scores.length == 1) {
            return scores[0][i] > 0.9f || scores[0][i] < (float) (1 - 0.9);
        }
        float best = scores[0][i];
        for (float[] score : scores) {
            best = Math.max(best, score[i]);
        }
        return best > 0.9f;
    }

    /** A whole number of pixels, halves away from zero; what is not a number is far enough. */
    private static int whole(float motion) {
        if (Float.isNaN(motion)) {
            return 1 << 20;
        }
        float limited = Math.max(-(1 << 20), Math.min(1 << 20, motion));
        return (int) (limited + (limited < 0 ? -0.5f : 0.5f));
    }

    /** The Gaussian (1, 2, 1) / 4 in both directions; the border is reflected, its own pixel not repeated. */
    private static float[] blurred(float[] score, int width, int height) {
        float[] rows = new float[score.length];
        int at = 0;
        for (int y = 0; y < height; y++) {
            for (int x = 0; x < width; x++, at++) {
                float left = score[y * width + (x == 0 ? 1 : x - 1)];
                float right = score[y * width + (x == width - 1 ? width - 2 : x + 1)];
                rows[at] = 0.5f * score[at] + 0.25f * (left + right);
            }
        }
        float[] both = new float[score.length];
        at = 0;
        for (int y = 0; y < height; y++) {
            int above = (y == 0 ? 1 : y - 1) * width;
            int below = (y == height - 1 ? height - 2 : y + 1) * width;
            for (int x = 0; x < width; x++, at++) {
                both[at] = 0.5f * rows[at] + 0.25f * (rows[above + x] + rows[below + x]);
            }
        }
        return both;
    }
}
