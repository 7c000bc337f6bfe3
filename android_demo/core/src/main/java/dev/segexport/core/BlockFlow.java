package dev.segexport.core;

import java.util.ArrayList;
import java.util.List;

/** Block matching in whole numbers: the twin of {@code BlockFlow} in segexport/video/flow.py, equal in every pixel. */
public final class BlockFlow implements Flow {
    private static final int BLOCK = 8;
    /** Pixels that a block is looked for in each direction, in the frame of half the size. */
    private static final int REACH = 7;
    /** The cost of a pixel of motion: half a grey level for each pixel of the block. */
    private static final int PER_PIXEL = 32;

    private static final int[][] FAR = motions(REACH);
    private static final int[][] NEAR = motions(1);

    @Override
    public void between(byte[] previous, byte[] current, int width, int height, float[] flow) {
        int halfWidth = (width + 1) / 2;
        int halfHeight = (height + 1) / 2;
        int coarseColumns = blocks(halfWidth);
        int[] coarse = new int[2 * coarseColumns * blocks(halfHeight)];
        match(halved(previous, width, height), halved(current, width, height), halfWidth, halfHeight, coarse, FAR);
        int columns = blocks(width);
        int rows = blocks(height);
        int[] motion = new int[2 * columns * rows];
        for (int row = 0; row < rows; row++) {
            for (int column = 0; column < columns; column++) {
                int parent = 2 * (row / 2 * coarseColumns + column / 2);
                int at = 2 * (row * columns + column);
                motion[at] = 2 * coarse[parent];
                motion[at + 1] = 2 * coarse[parent + 1];
            }
        }
        match(previous, current, width, height, motion, NEAR);
        int at = 0;
        for (int y = 0; y < height; y++) {
            for (int x = 0; x < width; x++) {
                int block = 2 * (y / BLOCK * columns + x / BLOCK);
                flow[at++] = motion[block];
                flow[at++] = motion[block + 1];
            }
        }
    }

    /** Replaces the motion of each block by the best one near it. */
    private static void match(byte[] previous, byte[] current, int width, int height, int[] motion, int[][] candidates) {
        int columns = blocks(width);
        int rows = blocks(height);
        for (int row = 0; row < rows; row++) {
            for (int column = 0; column < columns; column++) {
                int at = 2 * (row * columns + column);
                int bestX = 0;
                int bestY = 0;
                long best = Long.MAX_VALUE;
                for (int[] candidate : candidates) {
                    int dx = motion[at] + candidate[0];
                    int dy = motion[at + 1] + candidate[1];
                    long cost = PER_PIXEL * (Math.abs(dx) + Math.abs(dy));
                    cost += difference(previous, current, width, height, column * BLOCK, row * BLOCK, dx, dy, best - cost);
                    if (cost < best) {
                        best = cost;
                        bestX = dx;
                        bestY = dy;
                    }
                }
                motion[at] = bestX;
                motion[at + 1] = bestY;
            }
        }
    }

    /** The sum of absolute differences of a block; it stops after the row in which the sum reaches {@code enough}. */
    private static long difference(
            byte[] previous, byte[] current, int width, int height, int left, int top, int dx, int dy, long enough) {
        long sum = 0;
        for (int y = top; y < top + BLOCK && sum < enough; y++) {
            int from = Math.min(y, height - 1);
            int fromRow = from * width;
            int toRow = inside(from + dy, height) * width;
            for (int x = left; x < left + BLOCK; x++) {
                int column = Math.min(x, width - 1);
                sum += Math.abs((previous[fromRow + column] & 255) - (current[toRow + inside(column + dx, width)] & 255));
            }
        }
        return sum;
    }

    /** Means of 2x2 pixels, rounded; an odd last row or column is repeated. */
    private static byte[] halved(byte[] frame, int width, int height) {
        byte[] half = new byte[((width + 1) / 2) * ((height + 1) / 2)];
        int at = 0;
        for (int y = 0; y < height; y += 2) {
            int below = Math.min(y + 1, height - 1) * width;
            for (int x = 0; x < width; x += 2) {
                int right = Math.min(x + 1, width - 1);
                int sum = (frame[y * width + x] & 255) + (frame[y * width + right] & 255)
                        + (frame[below + x] & 255) + (frame[below + right] & 255);
                half[at++] = (byte) (sum + 2 >> 2);
            }
        }
        return half;
    }

    private static int inside(int at, int size) {
        return Math.max(0, Math.min(size - 1, at));
    }

    private static int blocks(int side) {
        return (side + BLOCK - 1) / BLOCK;
    }

    /** All {x, y} of at most {@code reach}, small ones first. */
    private static int[][] motions(int reach) {
        List<int[]> found = new ArrayList<>();
        for (int size = 0; size <= 2 * reach; size++) {
            for (int dy = -reach; dy <= reach; dy++) {
                for (int dx = -reach; dx <= reach; dx++) {
                    if (Math.abs(dx) + Math.abs(dy) == size) {
                        found.add(new int[] {dx, dy});
                    }
                }
            }
        }
        return found.toArray(new int[0][]);
    }
}
