package dev.segexport.demo.work;

import static org.junit.Assert.assertArrayEquals;
import static org.junit.Assert.assertEquals;
import static org.junit.Assert.assertFalse;
import static org.junit.Assert.assertTrue;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.Test;

public class CameraLeaseTest {
    private final List<String> closed = new ArrayList<>();
    private final CameraLease lease = new CameraLease();

    private boolean hold(String name) {
        return lease.hold(() -> closed.add(name));
    }

    @Test
    public void theLastOneIsClosedFirstAndOnce() {
        assertTrue(hold("reader"));
        assertTrue(hold("device"));
        assertTrue(lease.hold(() -> {
            throw new IllegalStateException("a broken camera");
        }));
        assertTrue(hold("session"));
        assertFalse(lease.isClosed());
        lease.close();
        lease.close();
        assertEquals(Arrays.asList("session", "device", "reader"), closed);
        assertTrue(lease.isClosed());
    }

    /** The user leaves the screen before the camera has answered. */
    @Test
    public void whatComesTooLateIsClosedAtOnce() {
        lease.close();
        assertFalse(hold("device"));
        assertEquals(Collections.singletonList("device"), closed);
    }

    @Test(timeout = 20000)
    public void nothingIsLeftWhoeverIsFaster() throws Exception {
        for (int round = 0; round < 200; round++) {
            CameraLease raced = new CameraLease();
            AtomicInteger open = new AtomicInteger();
            CountDownLatch start = new CountDownLatch(1);
            Thread opener = new Thread(() -> {
                try {
                    start.await();
                } catch (InterruptedException error) {
                    return;
                }
                for (int i = 0; i < 3; i++) {
                    open.incrementAndGet();
                    raced.hold(open::decrementAndGet);
                }
            });
            opener.start();
            start.countDown();
            raced.close();
            opener.join();
            assertEquals(0, open.get());
        }
    }

    @Test
    public void picturesStandUprightHoweverThePhoneIsHeld() {
        int[] back = new int[4];
        int[] front = new int[4];
        for (int display = 0; display < 4; display++) {
            back[display] = CameraGeometry.upright(90, display, false);
            front[display] = CameraGeometry.upright(270, display, true);
        }
        assertArrayEquals(new int[] {90, 0, 270, 180}, back);
        assertArrayEquals(new int[] {270, 0, 90, 180}, front);
        assertEquals(180, CameraGeometry.upright(270, 1, false)); // a sensor that is built in the other way round
    }

    @Test
    public void theSizeIsThatOfEveryCamera() {
        assertEquals(1, CameraGeometry.choose(new int[][] {{1920, 1080}, {640, 480}, {480, 640}}));
        assertEquals(2, CameraGeometry.choose(new int[][] {{1920, 1080}, {320, 240}, {640, 360}}));
        assertEquals(0, CameraGeometry.choose(new int[][] {{1280, 720}, {1920, 1080}}));
        assertEquals(-1, CameraGeometry.choose(new int[0][]));
        assertArrayEquals(new int[] {0, 500, 1080, 1940}, CameraGeometry.fitted(480, 640, 1080, 2440));
        assertArrayEquals(new int[] {210, 0, 2030, 1365}, CameraGeometry.fitted(640, 480, 2240, 1365));
    }

    @Test
    public void framesASecond() {
        FrameRate rate = new FrameRate(0);
        assertEquals(30, rate.at(15, 500_000_000), 1e-9);
        assertEquals(30, rate.at(16, 500_000_000), 1e-9);
        assertEquals(22, rate.at(26, 1_000_000_000), 1e-9);
    }
}
