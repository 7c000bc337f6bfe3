package dev.segexport.litert;

import static org.junit.Assert.assertArrayEquals;
import static org.junit.Assert.assertEquals;
import static org.junit.Assert.assertThrows;
import static org.junit.Assert.assertTrue;

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
import org.tensorflow.lite.DataType;
import org.tensorflow.lite.Interpreter;

/** The real library is not available here: this tests our side of its API, against a test double. */
public class LiteRtBackendTest {
    private static final String LOGITS = "{'name': 'y', 'dtype': 'float32', 'shape': [1, 1, 2, 2],"
            + " 'layout': 'NHWC', 'semantics': 'logits'}";

    @Rule
    public final TemporaryFolder folder = new TemporaryFolder();

    private final Pixels image = new ArgbPixels(new int[] {0xFF0000, 0x0000FF}, 2, 1);

    @After
    public void resetDouble() {
        Interpreter.answers = DataType.FLOAT32;
        Interpreter.runs = true;
    }

    private Segmenter open(byte[] content, String output) throws Exception {
        return open(content, output, "cpu");
    }

    private Segmenter open(byte[] content, String output, String provider) throws Exception {
        File model = folder.newFile();
        Files.write(model.toPath(), content);
        String json = Manifests.channelsLast(Manifests.json("litert", 2, 1, output), 1, 2);
        return Segmenter.open(new LiteRtBackend(), model, Manifests.parse(json), 3, provider);
    }

    @Test
    public void headsOfEveryType() throws Exception {
        for (String dtype : new String[] {"float32", "int32", "int64", "uint8"}) {
            Interpreter.answers = DataType.valueOf(dtype.toUpperCase(java.util.Locale.ROOT));
            String output = dtype.equals("float32") ? LOGITS
                    : "{'name': 'y', 'dtype': '" + dtype + "', 'shape': [1, 1, 2], 'layout': 'NHW',"
                            + " 'semantics': 'class_index'}";
            try (Segmenter segmenter = open(new byte[] {1}, output)) {
                assertArrayEquals(dtype, new char[] {1, 0}, segmenter.segment(image).mask.ids);
                assertArrayEquals(dtype, new char[] {1, 0}, segmenter.segment(image).mask.ids); // buffers start again
                assertEquals("double", segmenter.runtimeVersion());
                assertEquals(3, Interpreter.last.threads);
            }
        }
    }

    @Test
    public void providersAreOptionsOfTheInterpreter() throws Exception {
        assertEquals("cpu", new LiteRtBackend().providers().get(0));
        for (String provider : new LiteRtBackend().providers()) {
            open(new byte[] {1}, LOGITS, provider).close();
            assertEquals(provider, !provider.equals("builtin"), Interpreter.last.xnnpack);
            assertEquals(provider, provider.equals("nnapi"), Interpreter.last.nnapi);
        }
        SegmentationException error =
                assertThrows(SegmentationException.class, () -> open(new byte[] {1}, LOGITS, "gpu"));
        assertEquals(SegmentationException.Kind.PROVIDER_MISSING, error.kind());
        assertTrue(error.getMessage(), error.getMessage().contains("no provider gpu, it has [cpu, builtin, nnapi]"));
    }

    @Test
    public void refusals() throws Exception {
        SegmentationException error = assertThrows(SegmentationException.class, () -> open(new byte[0], LOGITS));
        assertEquals(SegmentationException.Kind.MODEL_REFUSED, error.kind());
        assertTrue(error.getMessage().contains("not a valid Flatbuffer"));
        Interpreter.runs = false;
        try (Segmenter segmenter = open(new byte[] {1}, LOGITS)) {
            error = assertThrows(SegmentationException.class, () -> segmenter.segment(image));
            assertEquals(SegmentationException.Kind.RUN_FAILED, error.kind());
        }
    }
}
