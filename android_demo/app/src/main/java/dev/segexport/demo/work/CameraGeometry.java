package dev.segexport.demo.work;

/** Which of a camera's sizes is taken, and how its pictures are turned and shown. */
public final class CameraGeometry {
    /** Every camera has it; most networks take less. */
    public static final int WIDTH = 640, HEIGHT = 480;

    private CameraGeometry() {}

    /**
     * Degrees clockwise that turn a camera's picture upright.
     *
     * @param sensor the sensor's own orientation, 0, 90, 180 or 270
     * @param display how far the screen's content is turned, as {@code Display.getRotation} counts: 0 to 3
     * @param front whether the camera looks at its user
     */
    public static int upright(int sensor, int display, boolean front) {
        int turned = 90 * display;
        return (sensor + (front ? turned : 360 - turned)) % 360;
    }

    /**
     * The index of the best size: 640x480, else the largest that has no more pixels, else the smallest.
     *
     * @param sizes {width, height} of each
     * @return -1 for none
     */
    public static int choose(int[][] sizes) {
        int best = -1;
        for (int i = 0; i < sizes.length; i++) {
            if (best < 0 || isBetter(pixels(sizes[i]), pixels(sizes[best]))) {
                best = i;
            }
            if (sizes[i][0] == WIDTH && sizes[i][1] == HEIGHT) {
                return i;
            }
        }
        return best;
    }

    private static boolean isBetter(long pixels, long than) {
        long wanted = (long) WIDTH * HEIGHT;
        if (pixels <= wanted) {
            return than > wanted || pixels > than;
        }
        return than > wanted && pixels < than;
    }

    private static long pixels(int[] size) {
        return (long) size[0] * size[1];
    }

    /** {left, top, right, bottom} of a picture that fills a screen as far as its shape allows, in the middle. */
    public static int[] fitted(int width, int height, int screenWidth, int screenHeight) {
        double scale = Math.min((double) screenWidth / width, (double) screenHeight / height);
        int shownWidth = (int) Math.round(width * scale);
        int shownHeight = (int) Math.round(height * scale);
        int left = (screenWidth - shownWidth) / 2;
        int top = (screenHeight - shownHeight) / 2;
        return new int[] {left, top, left + shownWidth, top + shownHeight};
    }
}
