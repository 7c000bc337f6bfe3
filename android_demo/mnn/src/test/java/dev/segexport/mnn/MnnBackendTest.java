package dev.segexport.mnn;

import static org.junit.Assert.assertArrayEquals;
import static org.junit.Assert.assertEquals;
import static org.junit.Assert.assertThrows;
import static org.junit.Assert.assertTrue;

import com.taobao.android.mnn.MNNNetInstance;
import dev.segexport.core.ArgbPixels;
import dev.segexport.core.Manifests;
import dev.segexport.core.Pixels;
import dev.segexport.core.SegmentationException;
import dev.segexport.core.Segmenter;
import java.io.File;
import java.nio.file.Files;
import org.junit.After;
import org.junit.Rule;
import org.junit.Test;
import org.junit.rules.TemporaryFolder;

/** The real library is not available here: this tests our side of its API, against a test double. */
public class MnnBackendTest {
    @Rule
    public final TemporaryFolder folder = new TemporaryFolder();

    private final Pixels image = new ArgbPixels(new int[] {0xFF0000, 0x0000FF}, 2, 1);

    @After
    public void resetDouble() {
        MNNNetInstance.answers = "float32";
        MNNNetInstance.knows = true;
        MNNNetInstance.resizes = true;
    }

    private Segmenter open(byte[] content, String json) throws Exception {
        File model = folder.newFile();
        Files.write(model.toPath(), content);
        return Segmenter.open(new MnnBackend(), model, Manifests.parse(json), 3);
    }

    private Segmenter open(String output) throws Exception {
        return open(new byte[] {1}, Manifests.json("mnn", 2, 1, output));
    }

    @Test
    public void headsOfEveryType() throws Exception {
        for (String dtype : new String[] {"float32", "int32", "int64", "uint8"}) {
            MNNNetInstance.answers = dtype.equals("int64") ? "int32" : dtype; // MNN has no int64
            String output = dtype.equals("float32") ? Manifests.LOGITS
                    : "{'name': 'y', 'dtype': '" + dtype + "', 'shape': [1, -1, -1], 'layout': 'NHW',"
                            + " 'semantics': 'class_index'}";
            try (Segmenter segmenter = open(output)) {
                assertArrayEquals(dtype, new char[] {1, 0}, segmenter.segment(image).mask.ids);
                assertArrayEquals(dtype, new char[] {1, 0}, segmenter.segment(image).mask.ids);
                assertEquals(3, MNNNetInstance.threads);
            }
        }
    }

    @Test
    public void refusals() throws Exception {
        String json = Manifests.json("mnn", 2, 1, Manifests.LOGITS);
        assertRefused("it is damaged, or of a later MNN", () -> open(new byte[0], json));
        MNNNetInstance.knows = false;
        int before = MNNNetInstance.released;
        assertRefused("an operator that this MNN lacks", () -> open(Manifests.LOGITS));
        MNNNetInstance.knows = true;
        assertRefused("it has no z", () -> open(Manifests.LOGITS.replace("'y'", "'z'")));
        assertEquals("what was opened is freed", before + 2, MNNNetInstance.released);
    }

    private static void assertRefused(String why, org.junit.function.ThrowingRunnable work) {
        SegmentationException error = assertThrows(SegmentationException.class, work);
        assertEquals(SegmentationException.Kind.MODEL_REFUSED, error.kind());
        assertTrue(error.getMessage(), error.getMessage().contains(why));
    }

    @Test
    public void aModelOfAnotherSizeIsNotFed() throws Exception {
        MNNNetInstance.resizes = false;
        try (Segmenter segmenter = open(Manifests.LOGITS)) {
            SegmentationException error = assertThrows(SegmentationException.class, () -> segmenter.segment(image));
            assertEquals("MNN: the model takes [1, 3, 7, 7], this is [1, 3, 1, 2]", error.getMessage());
        }
    }
}
