package dev.segexport.core;

import static org.junit.Assert.assertArrayEquals;
import static org.junit.Assert.assertEquals;
import static org.junit.Assert.assertNull;
import static org.junit.Assert.assertThrows;
import static org.junit.Assert.assertTrue;

import java.io.File;
import java.util.Collections;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicReference;
import org.junit.Rule;
import org.junit.Test;
import org.junit.rules.TemporaryFolder;

public class SegmenterTest {
    @Rule
    public final TemporaryFolder folder = new TemporaryFolder();

    private final FakeBackend backend = new FakeBackend();
    private final Pixels image = new ArgbPixels(new int[] {0xFFFF0000, 0xFF0000FF}, 2, 1);

    private static Manifest manifest() throws Exception {
        return Manifests.parse(Manifests.json("onnx", 4, 2, Manifests.LOGITS));
    }

    private Segmenter open() throws Exception {
        return Segmenter.open(backend, folder.newFile(), manifest(), 1);
    }

    private static SegmentationException refused(SegmentationException.Kind kind, org.junit.function.ThrowingRunnable r) {
        SegmentationException error = assertThrows(SegmentationException.class, r);
        assertEquals(error.getMessage(), kind, error.kind());
        return error;
    }

    @Test
    public void segmentsAndGoesBack() throws Exception {
        try (Segmenter segmenter = open()) {
            Segmentation answer = segmenter.segment(image);
            assertEquals(4, answer.mask.width);
            assertEquals(2, answer.mask.height);
            Mask restored = Postprocess.restore(answer.mask, answer.placement);
            assertArrayEquals(new char[] {1, 0}, restored.ids);
            assertTrue(answer.preprocessMs >= 0 && answer.inferenceMs >= 0 && answer.postprocessMs >= 0);
        }
    }

    @Test
    public void theModelStaysOnOneThread() throws Exception {
        Segmenter segmenter = open();
        segmenter.segment(image);
        Thread other = new Thread(() -> {
            try {
                segmenter.segment(image);
            } catch (SegmentationException error) {
                throw new AssertionError(error);
            }
        });
        other.start();
        other.join();
        segmenter.close();
        for (int i = 0; i < 500 && !backend.closed; i++) {
            Thread.sleep(10);
        }
        assertTrue(backend.closed);
        assertEquals(Collections.singleton("segmenter"), backend.threads);
        segmenter.close();
        refused(SegmentationException.Kind.CLOSED, () -> segmenter.segment(image));
    }

    @Test
    public void everyFailureHasAKind() throws Exception {
        refused(SegmentationException.Kind.MODEL_MISSING,
                () -> Segmenter.open(backend, new File("absent.onnx"), manifest(), 1));
        refused(SegmentationException.Kind.UNSUPPORTED, () -> Segmenter.open(
                backend, folder.newFile(), Manifests.parse(Manifests.json("paddle-lite", 4, 2, Manifests.LOGITS)), 1));
        backend.onOpen = new UnsatisfiedLinkError("libfake.so");
        assertTrue(refused(SegmentationException.Kind.BACKEND_MISSING, this::open).getMessage().contains("libfake.so"));
        backend.onOpen = new NoClassDefFoundError("Fake");
        refused(SegmentationException.Kind.BACKEND_MISSING, this::open);
        backend.onOpen = null;
        try (Segmenter segmenter = open()) {
            backend.onRun = new OutOfMemoryError();
            refused(SegmentationException.Kind.OUT_OF_MEMORY, () -> segmenter.segment(image));
            backend.onRun = new IllegalStateException("broken");
            refused(SegmentationException.Kind.RUN_FAILED, () -> segmenter.segment(image));
            backend.onRun = null;
            refused(SegmentationException.Kind.BAD_IMAGE,
                    () -> segmenter.segment(new ArgbPixels(new int[0], 0, 0)));
            assertArrayEquals(new char[] {1, 1, 0, 0, 1, 1, 0, 0}, segmenter.segment(image).mask.ids);
        }
    }

    /** Segments on a thread of its own; its failure is what {@code kind} holds after {@code join}. */
    private Thread caller(Segmenter segmenter, AtomicReference<SegmentationException.Kind> kind) {
        Thread made = new Thread(() -> {
            try {
                segmenter.segment(image);
            } catch (SegmentationException error) {
                kind.set(error.kind());
                assertTrue("it stays interrupted", Thread.currentThread().isInterrupted());
            }
        });
        made.start();
        return made;
    }

    @Test(timeout = 20000)
    public void anInterruptedCallerEndsItsRunAndNoOther() throws Exception {
        AtomicReference<SegmentationException.Kind> first = new AtomicReference<>(), second = new AtomicReference<>();
        try (Segmenter segmenter = open()) {
            backend.hold = new CountDownLatch(1);
            Thread runs = caller(segmenter, first);
            backend.held.await();
            Thread waits = caller(segmenter, second);
            while (waits.getState() != Thread.State.WAITING) {
                Thread.sleep(1);
            }
            waits.interrupt();
            waits.join();
            assertEquals(SegmentationException.Kind.CANCELLED, second.get());
            assertEquals("the run that is under way is another's", 1, backend.hold.getCount());
            runs.interrupt();
            runs.join();
            assertEquals(SegmentationException.Kind.CANCELLED, first.get());
            backend.hold = null;
            assertArrayEquals(new char[] {1, 1, 0, 0, 1, 1, 0, 0}, segmenter.segment(image).mask.ids);
            assertEquals("the image that waited was run", 2, backend.runs.get());
        }
    }

    @Test(timeout = 20000)
    public void aFailureWhenClosingEndsNoApp() throws Exception {
        AtomicReference<Throwable> uncaught = new AtomicReference<>();
        Thread.UncaughtExceptionHandler before = Thread.getDefaultUncaughtExceptionHandler();
        Thread.setDefaultUncaughtExceptionHandler((thread, error) -> uncaught.set(error));
        try {
            Segmenter segmenter = open();
            backend.onClose = new IllegalStateException("closed twice");
            segmenter.close();
            for (Thread thread : Thread.getAllStackTraces().keySet()) {
                if (thread.getName().equals("segmenter")) {
                    thread.join();
                }
            }
        } finally {
            Thread.setDefaultUncaughtExceptionHandler(before);
        }
        assertTrue(backend.closed);
        assertNull(uncaught.get());
    }

    @Test
    public void anImageOfOtherChannelsIsFedByItsChannels() throws Exception {
        String json = Manifests.json("onnx", 4, 2, Manifests.LOGITS)
                .replace("'mean': [0, 0, 0], 'std': [1, 1, 1]", "'mean': [0, 0], 'std': [1, 1]")
                .replace("'color': 'rgb'", "'color': 'channels'").replace("[1, 3, -1, -1]", "[1, 2, -1, -1]");
        try (Segmenter segmenter = Segmenter.open(backend, folder.newFile(), Manifests.parse(json), 1)) {
            FloatImage two = new FloatImage(2, 1, 2, new float[] {200, 0, 0, 200});
            assertArrayEquals(new char[] {1, 1, 0, 0, 1, 1, 0, 0}, segmenter.segment(two).mask.ids);
            SegmentationException error =
                    refused(SegmentationException.Kind.UNSUPPORTED, () -> segmenter.segment(image));
            assertTrue(error.getMessage(), error.getMessage().contains("takes 2 channels"));
            FloatImage three = new FloatImage(1, 1, 3, new float[3]);
            refused(SegmentationException.Kind.BAD_IMAGE, () -> segmenter.segment(three));
        }
        assertThrows(IllegalArgumentException.class, () -> new FloatImage(2, 2, 2, new float[7]));
    }

    @Test
    public void aModelOfFixedSizeRefusesAnother() throws Exception {
        String json = Manifests.json("onnx", 4, 2, Manifests.LOGITS).replace("[1, 3, -1, -1]", "[1, 3, 2, 5]");
        try (Segmenter segmenter = Segmenter.open(backend, folder.newFile(), Manifests.parse(json), 1)) {
            SegmentationException error =
                    refused(SegmentationException.Kind.UNSUPPORTED, () -> segmenter.segment(image));
            assertTrue(error.getMessage(), error.getMessage().contains("4x2, the model takes 5x2"));
        }
    }
}
