package dev.segexport.lite;

import static org.junit.Assert.assertArrayEquals;
import static org.junit.Assert.assertEquals;
import static org.junit.Assert.assertNull;
import static org.junit.Assert.assertThrows;
import static org.junit.Assert.assertTrue;

import com.baidu.paddle.lite.PaddlePredictor;
import dev.segexport.core.ArgbPixels;
import dev.segexport.core.Manifest;
import dev.segexport.core.Manifests;
import dev.segexport.core.Pixels;
import dev.segexport.core.Segmentation;
import dev.segexport.core.SegmentationException;
import dev.segexport.core.Segmenter;
import java.io.File;
import java.nio.file.Files;
import org.junit.After;
import org.junit.Rule;
import org.junit.Test;
import org.junit.rules.TemporaryFolder;

/** The real library is not available here: this tests our side of its API, against a test double. */
public class LiteBackendTest {
    @Rule
    public final TemporaryFolder folder = new TemporaryFolder();

    private final Pixels image = new ArgbPixels(new int[] {0xFF0000, 0x0000FF}, 2, 1);

    @After
    public void resetDouble() {
        PaddlePredictor.answers = "float32";
        PaddlePredictor.runs = true;
    }

    private Segmenter open(String output) throws Exception {
        File model = folder.newFile();
        Files.write(model.toPath(), new byte[] {1});
        return Segmenter.open(
                new LiteBackend(), model, Manifests.parse(Manifests.json("paddle-lite", 2, 1, output)), 3);
    }

    @Test
    public void headsOfEveryType() throws Exception {
        for (String dtype : new String[] {"float32", "int32", "int64", "uint8"}) {
            PaddlePredictor.answers = dtype;
            String output = dtype.equals("float32") ? Manifests.LOGITS
                    : "{'name': 'y', 'dtype': '" + dtype + "', 'shape': [1, -1, -1], 'layout': 'NHW',"
                            + " 'semantics': 'class_index'}";
            try (Segmenter segmenter = open(output)) {
                Segmentation answer = segmenter.segment(image);
                assertArrayEquals(dtype, new char[] {1, 0}, answer.mask.ids);
                assertEquals("double", segmenter.runtimeVersion());
                assertEquals(3, PaddlePredictor.last.threads());
            }
        }
    }

    @Test
    public void aModelForAnotherLibraryIsNotEvenLoaded() throws Exception {
        File model = folder.newFile();
        Files.write(model.toPath(), new byte[] {1});
        String usual = Manifests.json("paddle-lite", 2, 1, Manifests.LOGITS);
        Manifest fp16 = Manifests.parse(Manifests.requiring(usual, "fp16"));
        for (LiteBackend lacking : new LiteBackend[] {new LiteBackend(), new LiteBackend("opencl")}) {
            PaddlePredictor.last = null;
            SegmentationException error =
                    assertThrows(SegmentationException.class, () -> Segmenter.open(lacking, model, fp16, 1));
            assertEquals(SegmentationException.Kind.LIBRARY_UNSUITABLE, error.kind());
            assertTrue(error.getMessage(), error.getMessage().contains("built with fp16"));
            assertNull(PaddlePredictor.last);
        }
        Segmenter.open(new LiteBackend(LiteBackend.FP16), model, fp16, 1).close();
        Segmenter.open(new LiteBackend(LiteBackend.FP16), model, Manifests.parse(usual), 1).close();
    }

    @Test
    public void refusals() throws Exception {
        SegmentationException error = assertThrows(SegmentationException.class, () -> Segmenter.open(
                new LiteBackend(), folder.newFile(),
                Manifests.parse(Manifests.json("paddle-lite", 2, 1, Manifests.LOGITS)), 1));
        assertEquals(SegmentationException.Kind.MODEL_REFUSED, error.kind());
        assertTrue(error.getMessage().contains("another version"));
        PaddlePredictor.runs = false;
        try (Segmenter segmenter = open(Manifests.LOGITS)) {
            error = assertThrows(SegmentationException.class, () -> segmenter.segment(image));
            assertEquals(SegmentationException.Kind.RUN_FAILED, error.kind());
        }
    }
}
