package dev.segexport.ncnn;

import static org.junit.Assert.assertEquals;
import static org.junit.Assert.assertThrows;
import static org.junit.Assert.assertTrue;

import dev.segexport.core.Manifests;
import dev.segexport.core.SegmentationException;
import dev.segexport.core.Segmenter;
import java.io.File;
import org.junit.Rule;
import org.junit.Test;
import org.junit.rules.TemporaryFolder;

/** Without the native library. With it, and ncnn's own: tests/android/test_ncnn.py. */
public class NcnnBackendTest {
    @Rule
    public final TemporaryFolder folder = new TemporaryFolder();

    private SegmentationException opening(String json) throws Exception {
        File model = folder.newFile();
        return assertThrows(
                SegmentationException.class,
                () -> Segmenter.open(new NcnnBackend(), model, Manifests.parse(json), 1));
    }

    @Test
    public void whatIsMissingIsNamed() throws Exception {
        String json = Manifests.json("ncnn", 2, 1, Manifests.LOGITS);
        SegmentationException error = opening(json);
        assertEquals(SegmentationException.Kind.MODEL_REFUSED, error.kind());
        assertTrue(error.getMessage(), error.getMessage().contains("it has 0 files of weights, ncnn takes one"));
        String weighted = json.replace("'role': 'model'}", "'role': 'model'}, {'path': 'w.bin', 'sha256': 'x',"
                + " 'size_bytes': 3, 'role': 'params'}");
        assertEquals("there is no model file w.bin", opening(weighted).getMessage());
        assertTrue(new File(folder.getRoot(), "w.bin").createNewFile());
        error = opening(weighted);
        assertEquals(SegmentationException.Kind.BACKEND_MISSING, error.kind());
        assertTrue(error.getMessage(), error.getMessage().contains("segexport_ncnn"));
    }
}
