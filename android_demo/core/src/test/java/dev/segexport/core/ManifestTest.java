package dev.segexport.core;

import static org.junit.Assert.assertEquals;
import static org.junit.Assert.assertFalse;
import static org.junit.Assert.assertThrows;
import static org.junit.Assert.assertTrue;

import org.junit.Test;

public class ManifestTest {
    private static final String GOOD = Manifests.json("onnx", 4, 2, Manifests.LOGITS);

    private static void refused(String json, SegmentationException.Kind kind, String message) {
        SegmentationException error = assertThrows(SegmentationException.class, () -> Manifests.parse(json));
        assertTrue(error.getMessage(), error.getMessage().contains(message));
        assertEquals(kind, error.kind());
    }

    @Test
    public void readsWhatPythonWrites() throws Exception {
        Manifest manifest = Manifests.parse(GOOD);
        assertEquals("toy", manifest.name);
        assertEquals("onnx", manifest.format);
        assertEquals("x", manifest.input.name);
        assertEquals(-1, manifest.input.shape[2]);
        assertEquals("y", manifest.mask().name);
        assertEquals("tree", manifest.label(1).name);
        assertEquals(0xFF00FF00, manifest.label(1).argb);
        assertEquals("model.bin", manifest.modelFile);
        assertEquals(null, manifest.sampleInput);
    }

    @Test
    public void readsWhatTheLibraryMustHaveBeenBuiltWith() throws Exception {
        assertEquals(null, Manifests.parse(GOOD).requiredBuild);
        assertEquals(null, Manifests.parse(GOOD.replace("'sample': null", "'requires': null")).requiredBuild);
        assertEquals("fp16", Manifests.parse(Manifests.requiring(GOOD, "fp16")).requiredBuild);
        refused(GOOD.replace("'sample': null", "'requires': {}"), SegmentationException.Kind.BAD_MANIFEST, "build");
    }

    @Test
    public void skipsOutputsThatAreNoMask() throws Exception {
        String other = "{'name': 'aux', 'dtype': 'float32', 'shape': [1], 'layout': '', 'semantics': 'other'}, ";
        assertEquals(1, Manifests.parse(Manifests.json("onnx", 4, 2, other + Manifests.LOGITS)).maskOutput);
    }

    @Test
    public void refusesWhatItCannotRead() {
        refused("", SegmentationException.Kind.BAD_MANIFEST, "manifest.json");
        refused("{", SegmentationException.Kind.BAD_MANIFEST, "manifest.json");
        refused("[]", SegmentationException.Kind.BAD_MANIFEST, "manifest.json");
        StringBuilder deep = new StringBuilder();
        for (int i = 0; i < 100000; i++) {
            deep.append('[');
        }
        refused(deep.toString(), SegmentationException.Kind.BAD_MANIFEST, "manifest.json");
        refused(GOOD.replace("'schema_version': 1", "'schema_version': 2"),
                SegmentationException.Kind.BAD_MANIFEST, "schema_version 2");
        refused(GOOD.replace("'model.bin'", "'../model.bin'"), SegmentationException.Kind.BAD_MANIFEST, "outside");
        refused(GOOD.replace("'role': 'model'", "'role': 'other'"),
                SegmentationException.Kind.BAD_MANIFEST, "role \"model\"");
        refused(GOOD.replace("'logits'", "'other'"), SegmentationException.Kind.BAD_MANIFEST, "segmentation");
    }

    @Test
    public void refusesWhatItCannotDo() {
        refused(GOOD.replace("'op': 'resize'", "'op': 'warp'"), SegmentationException.Kind.UNSUPPORTED, "warp");
        refused(GOOD.replace("'nearest'", "'sinc'"), SegmentationException.Kind.UNSUPPORTED, "sinc");
        refused(GOOD.replace("'keep_ratio'", "'antialias'"), SegmentationException.Kind.UNSUPPORTED, "antialias");
        refused(GOOD.replace("'std': [1, 1, 1]", "'std': [1, 0, 1]"), SegmentationException.Kind.BAD_MANIFEST, "std");
        refused(GOOD.replace("'width': 4", "'width': 0"), SegmentationException.Kind.BAD_MANIFEST, "width is 0");
        refused(GOOD.replace("'dtype': 'float32', 'shape': [1, 3", "'dtype': 'uint8', 'shape': [1, 3"),
                SegmentationException.Kind.UNSUPPORTED, "uint8");
        refused(GOOD.replace("'color': 'rgb'", "'color': 'yuv'"), SegmentationException.Kind.UNSUPPORTED, "yuv");
        refused(GOOD.replace("'color': 'rgb'", "'color': 'rgb', 'depth': 'uint12'"),
                SegmentationException.Kind.UNSUPPORTED, "uint12");
    }

    @Test
    public void theNumberOfChannelsIsOneNumber() throws Exception {
        assertEquals(3, Manifests.parse(GOOD).preprocess.channels());
        String two = GOOD.replace("'mean': [0, 0, 0], 'std': [1, 1, 1]", "'mean': [0, 0], 'std': [1, 1]");
        refused(two, SegmentationException.Kind.BAD_MANIFEST, "color rgb has 3 channels, there are 2 means");
        Manifest manifest = Manifests.parse(two.replace("'color': 'rgb'", "'color': 'channels'"));
        assertEquals(2, manifest.preprocess.channels());
        assertFalse(manifest.preprocess.takesPictures());
        refused(two.replace("'color': 'rgb'", "'color': 'channels'").replace("'std': [1, 1]", "'std': [1, 1, 1]"),
                SegmentationException.Kind.BAD_MANIFEST, "std has 3 channels, there are 2 means");
        refused(two.replace("'std': [1, 1]", "'std': []"), SegmentationException.Kind.BAD_MANIFEST, "[]");
        assertFalse(Manifests.parse(GOOD.replace("'color': 'rgb'", "'color': 'rgb', 'depth': 'stored'"))
                .preprocess.takesPictures());
    }
}
