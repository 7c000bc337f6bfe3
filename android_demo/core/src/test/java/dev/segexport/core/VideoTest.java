package dev.segexport.core;

import static org.junit.Assert.assertArrayEquals;
import static org.junit.Assert.assertEquals;
import static org.junit.Assert.assertThrows;
import static org.junit.Assert.assertTrue;

import org.junit.Rule;
import org.junit.Test;
import org.junit.rules.TemporaryFolder;

public class VideoTest {
    @Rule
    public final TemporaryFolder folder = new TemporaryFolder();

    private static final int WIDTH = 40;
    private static final int HEIGHT = 20;

    /** Red at the left half, whose level is {@code red}, blue at the right. */
    private static Pixels frame(int red) {
        int[] argb = new int[WIDTH * HEIGHT];
        for (int i = 0; i < argb.length; i++) {
            argb[i] = i % WIDTH < WIDTH / 2 ? 0xFF000000 | red << 16 : 0xFF0000FF;
        }
        return new ArgbPixels(argb, WIDTH, HEIGHT);
    }

    private Segmenter open(int width, int height, String output) throws Exception {
        Manifest manifest = Manifests.parse(Manifests.json("onnx", width, height, output));
        return Segmenter.open(new FakeBackend(), folder.newFile(), manifest, 1);
    }

    @Test
    public void opacityIsOneInFrontAndZeroBehind() throws Exception {
        try (Segmenter segmenter = open(32, 24, Manifests.LOGITS)) {
            Matte matte = segmenter.follow(frame(255), new VideoSmoother());
            assertEquals(32, matte.width);
            float[] alpha = matte.restored();
            assertEquals(WIDTH * HEIGHT, alpha.length);
            assertEquals(1f, alpha[5], 1e-6);
            assertEquals(0f, alpha[WIDTH - 5], 1e-6);
            alpha = segmenter.follow(frame(255), null).restored();
            float[] behind = segmenter.follow(frame(255), null, 0).restored();
            for (int i = 0; i < alpha.length; i++) {
                assertEquals(1f, alpha[i] + behind[i], 1e-5);
            }
        }
    }

    @Test
    public void aFrameThatDiffersIsSmoothedAndAResetForgets() throws Exception {
        try (Segmenter segmenter = open(32, 24, Manifests.LOGITS)) {
            VideoSmoother smoother = new VideoSmoother();
            segmenter.follow(frame(130), smoother);
            assertTrue(segmenter.follow(frame(126), smoother).alpha[5] > 0.7);
            smoother.reset();
            assertEquals(0f, segmenter.follow(frame(126), smoother).alpha[5], 1e-6);
        }
    }

    @Test
    public void anAnswerThatIsTooSmallForFlowIsRefused() throws Exception {
        try (Segmenter segmenter = open(15, 24, Manifests.LOGITS)) {
            SegmentationException error = assertThrows(
                    SegmentationException.class, () -> segmenter.follow(frame(255), new VideoSmoother()));
            assertEquals(SegmentationException.Kind.UNSUPPORTED, error.kind());
            assertTrue(error.getMessage(), error.getMessage().contains("15x24"));
            assertEquals(15, segmenter.follow(frame(255), null).width);
        }
    }

    @Test
    public void probabilitiesOfEveryHead() throws Exception {
        float[] two = {0, 1, 2, 1};
        Scores scores = scores(two, "logits", "NCHW", 1, 2, 1, 2);
        assertArrayEquals(new float[] {0.880797f, 0.5f}, scores.planes[1], 1e-6f);
        assertArrayEquals(new float[] {0.119203f, 0.5f}, scores.planes[0], 1e-6f);
        assertArrayEquals(new float[] {1, 1}, scores(two, "probability", "NHWC", 1, 1, 2, 2).planes[1], 0f);
        assertArrayEquals(
                new float[] {0.268941f, 0.880797f}, scores(new float[] {-1, 2}, "logits", "NCHW", 1, 1, 1, 2).planes[1], 1e-6f);
        assertArrayEquals(
                new float[] {0.75f, 0}, scores(new float[] {0.25f, 1}, "probability", "NCHW", 1, 1, 1, 2).planes[0], 1e-6f);
        Scores ids = scores(new int[] {1, 0}, "class_index", "NHW", 1, 1, 2);
        assertArrayEquals(new float[] {1, 0}, ids.planes[1], 0f);
        assertArrayEquals(new float[] {0, 1}, ids.planes[0], 0f);
    }

    private static Scores scores(Object data, String semantics, String layout, long... shape) throws Exception {
        return Postprocess.scores(new OutputTensor(data, shape), Manifests.spec(semantics, layout), 2);
    }

    @Test
    public void sizesThatDoNotFitAreErrors() {
        VideoSmoother smoother = new VideoSmoother();
        float[][] score = {new float[256]};
        assertThrows(IllegalArgumentException.class, () -> smoother.next(score, new byte[255], 16, 16));
        assertThrows(IllegalArgumentException.class, () -> smoother.next(new float[0][], new byte[256], 16, 16));
        assertThrows(IllegalArgumentException.class, () -> smoother.next(score, new byte[256], 8, 32));
    }
}
