package dev.segexport.core;

import static org.junit.Assert.assertArrayEquals;
import static org.junit.Assert.assertEquals;
import static org.junit.Assert.assertFalse;
import static org.junit.Assert.assertNotSame;
import static org.junit.Assert.assertNull;
import static org.junit.Assert.assertSame;
import static org.junit.Assert.assertTrue;

import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicReference;
import org.junit.Rule;
import org.junit.Test;
import org.junit.rules.TemporaryFolder;

/** A camera that is faster than the model. */
public class LiveStreamTest {
    private static final int WIDTH = 32, HEIGHT = 24, RED = 0xFFFF0000, BLUE = 0xFF0000FF, PASS = 20;
    private static final String THREE =
            "{'id': 1, 'name': 'tree', 'rgb': [0, 255, 0]}, {'id': 2, 'name': 'sky', 'rgb': [0, 0, 255]}]";

    @Rule
    public final TemporaryFolder folder = new TemporaryFolder();

    private final FakeBackend backend = new FakeBackend();
    private final AtomicReference<SegmentationException> failure = new AtomicReference<>();

    /** A network with three classes, or a portrait's with two. */
    private Segmenter open(boolean portrait) throws Exception {
        String json = Manifests.json("onnx", WIDTH, HEIGHT, Manifests.LOGITS);
        if (!portrait) {
            json = json.replace("{'id': 1, 'name': 'tree', 'rgb': [0, 255, 0]}]", THREE);
        }
        return Segmenter.open(backend, folder.newFile(), Manifests.parse(json), 1);
    }

    private static ArgbPixels filled(LiveStream stream, int argb) {
        ArgbPixels frame = stream.blank(WIDTH, HEIGHT);
        java.util.Arrays.fill(frame.argb(), argb);
        return frame;
    }

    private interface Waiting {
        void run() throws InterruptedException;
    }

    private static void uninterrupted(Waiting waiting) {
        try {
            waiting.run();
        } catch (InterruptedException error) {
            throw new AssertionError(error);
        }
    }

    private static void await(LiveStream stream, long segmented) throws InterruptedException {
        for (int i = 0; i < 2000 && stream.counts().segmented < segmented; i++) {
            Thread.sleep(PASS / 4);
        }
        assertEquals(segmented, stream.counts().segmented);
    }

    @Test
    public void theNewestFrameWinsAndTheLastMaskIsDrawnOverEveryOne() throws Exception {
        try (Segmenter segmenter = open(false);
                LiveStream stream = new LiveStream(segmenter, failure::set)) {
            int[] out = new int[WIDTH * HEIGHT];
            ArgbPixels first = filled(stream, RED);
            assertFalse(stream.draw(first, 255, 0, out)); // no answer yet: the picture itself
            assertArrayEquals(first.argb(), out);
            CountDownLatch running = new CountDownLatch(1);
            CountDownLatch held = new CountDownLatch(1);
            backend.onEachRun = () -> {
                running.countDown();
                uninterrupted(held::await);
            };
            stream.offer(first);
            assertTrue(running.await(PASS, TimeUnit.SECONDS));
            for (int i = 0; i < 5; i++) { // while the model runs, five more come
                stream.offer(filled(stream, i == 4 ? BLUE : RED));
            }
            assertEquals(6, stream.counts().offered);
            assertEquals(4, stream.counts().dropped);
            held.countDown();
            await(stream, 2);
            assertEquals(4, stream.counts().dropped);
            ArgbPixels next = filled(stream, 0xFF646464);
            assertTrue(stream.draw(next, 255, 0, out));
            assertEquals("the fifth frame, blue, is class 0", 0xFF000000, out[0]);
            stream.offer(filled(stream, RED));
            await(stream, 3);
            assertTrue(stream.draw(next, 255, 0, out));
            assertEquals("class 1", 0xFF00FF00, out[WIDTH * HEIGHT - 1]);
            assertTrue(stream.draw(next, 0, 0, out));
            assertEquals(0xFF646464, out[0]);
            assertTrue(stream.counts().answerMs > 0);
        }
        assertNull(failure.get());
    }

    @Test
    public void threeBuffersAreEnough() throws Exception {
        NewestFrame<String> frames = new NewestFrame<>();
        assertNull(frames.blank());
        frames.offer("a");
        frames.offer("b");
        assertSame("a", frames.blank());
        assertSame("b", frames.take());
        frames.offer("a");
        frames.giveBack("b");
        assertSame("b", frames.blank());
        assertNull(frames.blank());
        frames.close();
        assertNull(frames.take());
        frames.offer("c");
        assertEquals(3, frames.offered());
        assertEquals(1, frames.dropped());
    }

    @Test
    public void aPortraitGetsAnotherBackground() throws Exception {
        try (Segmenter segmenter = open(true);
                LiveStream stream = new LiveStream(segmenter, failure::set)) {
            assertTrue(LiveStream.isPortrait(segmenter.manifest()));
            ArgbPixels frame = stream.blank(WIDTH, HEIGHT);
            for (int i = 0; i < frame.argb().length; i++) {
                frame.argb()[i] = i % WIDTH < WIDTH / 2 ? RED : BLUE;
            }
            stream.offer(frame);
            await(stream, 1);
            int[] out = new int[WIDTH * HEIGHT];
            assertTrue(stream.draw(frame, 255, 0x00FF00, out));
            assertEquals(RED, out[2]);
            assertEquals(0xFF00FF00, out[WIDTH - 2]);
            assertTrue(stream.draw(frame, 0, 0x00FF00, out));
            assertEquals(BLUE, out[WIDTH - 2]);
            ArgbPixels turned = stream.blank(HEIGHT, WIDTH);
            assertFalse("the phone was turned", stream.draw(turned, 255, 0, new int[WIDTH * HEIGHT]));
            assertNotSame(frame, turned);
        }
    }

    @Test
    public void aFailureIsToldAndEndsTheStream() throws Exception {
        for (Throwable problem : new Throwable[] {new IllegalStateException("broken"), new OutOfMemoryError()}) {
            backend.onRun = problem;
            CountDownLatch told = new CountDownLatch(1);
            try (Segmenter segmenter = open(false);
                    LiveStream stream = new LiveStream(segmenter, error -> {
                        failure.set(error);
                        told.countDown();
                    })) {
                stream.offer(filled(stream, RED));
                assertTrue(told.await(PASS, TimeUnit.SECONDS));
                stream.offer(filled(stream, RED)); // the camera may go on for a while
                assertEquals(0, stream.counts().segmented);
            }
            assertEquals(
                    problem instanceof OutOfMemoryError
                            ? SegmentationException.Kind.OUT_OF_MEMORY : SegmentationException.Kind.RUN_FAILED,
                    failure.get().kind());
        }
    }

    @Test
    public void closingWaitsForTheRunAndLeavesNoThread() throws Exception {
        CountDownLatch running = new CountDownLatch(1);
        backend.onEachRun = () -> {
            running.countDown();
            uninterrupted(() -> Thread.sleep(PASS));
        };
        try (Segmenter segmenter = open(false)) {
            LiveStream stream = new LiveStream(segmenter, failure::set);
            stream.offer(filled(stream, RED));
            assertTrue(running.await(PASS, TimeUnit.SECONDS));
            stream.close();
            stream.close();
            for (Thread thread : Thread.getAllStackTraces().keySet()) {
                assertFalse(thread.getName().equals("live") && thread.isAlive());
            }
        }
        assertNull(failure.get());
    }
}
