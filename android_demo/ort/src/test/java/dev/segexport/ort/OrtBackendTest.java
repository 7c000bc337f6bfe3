package dev.segexport.ort;

import static org.junit.Assert.assertEquals;
import static org.junit.Assert.assertThrows;
import static org.junit.Assert.assertTrue;

import dev.segexport.core.Manifest;
import dev.segexport.core.Manifests;
import dev.segexport.core.SegmentationException;
import dev.segexport.core.Segmenter;
import java.io.File;
import java.nio.file.Files;
import org.junit.Rule;
import org.junit.Test;
import org.junit.rules.TemporaryFolder;

/** With the AAR's real libraries. What a good model answers is compared with Python's answer in tests/android. */
public class OrtBackendTest {
    @Rule
    public final TemporaryFolder folder = new TemporaryFolder();

    @Test
    public void refusesWhatIsNoModel() throws Exception {
        Manifest manifest = Manifests.parse(Manifests.json("onnx", 2, 1, Manifests.LOGITS));
        for (byte[] bytes : new byte[][] {{}, {1, 2, 3}, "<html>".getBytes("UTF-8")}) {
            File model = folder.newFile();
            Files.write(model.toPath(), bytes);
            SegmentationException error = assertThrows(
                    SegmentationException.class, () -> Segmenter.open(new OrtBackend(), model, manifest, 1));
            assertEquals(SegmentationException.Kind.MODEL_REFUSED, error.kind());
            assertTrue(error.getMessage(), error.getMessage().contains("cannot load model.bin"));
        }
    }
}
