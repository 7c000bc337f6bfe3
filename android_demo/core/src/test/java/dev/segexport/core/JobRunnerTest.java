package dev.segexport.core;

import static org.junit.Assert.assertArrayEquals;
import static org.junit.Assert.assertEquals;
import static org.junit.Assert.assertFalse;
import static org.junit.Assert.assertThrows;
import static org.junit.Assert.assertTrue;

import java.awt.image.BufferedImage;
import java.io.File;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import javax.imageio.ImageIO;
import org.json.JSONArray;
import org.json.JSONObject;
import org.junit.Before;
import org.junit.Rule;
import org.junit.Test;
import org.junit.rules.TemporaryFolder;

public class JobRunnerTest {
    @Rule
    public final TemporaryFolder folder = new TemporaryFolder();

    private final FakeBackend backend = new FakeBackend();
    private File pack;
    private File out;

    @Before
    public void writePack() throws Exception {
        pack = folder.newFolder("pack");
        out = folder.newFolder("out");
        write("manifest.json", Manifests.json("onnx", 2, 1, Manifests.LOGITS)
                .replace("'sample': null", "'sample': {'input': 'in.png', 'expected_mask': 'mask.png'}"));
        write("model.bin", "abc");
        BufferedImage image = new BufferedImage(2, 1, BufferedImage.TYPE_INT_RGB);
        image.setRGB(0, 0, 0xFF0000);
        ImageIO.write(image, "png", new File(pack, "in.png"));
        BufferedImage mask = new BufferedImage(2, 1, BufferedImage.TYPE_BYTE_GRAY);
        mask.getRaster().setSample(0, 0, 0, 1);
        mask.getRaster().setSample(1, 0, 0, 1);
        ImageIO.write(mask, "png", new File(pack, "mask.png"));
    }

    private void write(String name, String text) throws Exception {
        Files.write(new File(pack, name).toPath(), text.replace('\'', '"').getBytes(StandardCharsets.UTF_8));
    }

    private JSONObject run(Job job) throws Exception {
        List<Backend> backends = Collections.singletonList(backend);
        new JobRunner(new Pack.Folder(pack), new ImageIoDecoder(), Collections.singletonMap("model", "JVM"))
                .run(job, backends, out, out);
        return new JSONObject(
                new String(Files.readAllBytes(new File(out, "result.json").toPath()), StandardCharsets.UTF_8));
    }

    private String failure(Job job, String kind) throws Exception {
        JSONObject error = run(job).getJSONObject("error");
        assertEquals(error.toString(), kind, error.getString("kind"));
        return error.getString("message");
    }

    @Test
    public void theSampleIsRunAndCompared() throws Exception {
        JSONObject result = run(Job.sample(Packs.manifest(new Pack.Folder(pack)), 1, 5));
        assertTrue(result.isNull("error"));
        assertEquals("JVM", result.getJSONObject("device").getString("model"));
        assertEquals(Manifests.SHA256_OF_ABC, result.getJSONObject("model").getString("sha256"));
        JSONObject item = result.getJSONArray("items").getJSONObject(0);
        assertEquals(0.5, item.getDouble("agreement"), 0); // the pack expects class 1 in both pixels, one is black
        assertEquals(5, item.getJSONArray("inference_ms").length());
        assertArrayEquals(new byte[] {1, 0, 0, 0}, Files.readAllBytes(new File(out, "mask-0.u16").toPath()));
    }

    @Test
    public void providersAreMeasuredSideBySide() throws Exception {
        backend.providers = Arrays.asList("cpu", "fast", "broken", "fatal");
        backend.broken.put("broken", new IllegalStateException("no driver"));
        backend.broken.put("fatal", new UnsatisfiedLinkError("libfatal.so"));
        JSONObject result = run(
                Job.sample(Packs.manifest(new Pack.Folder(pack)), 1, 3, JobRunner.providersOf(backend)));
        assertTrue(result.toString(), result.isNull("error"));
        assertEquals("cpu", result.getJSONObject("runtime").getString("provider"));
        assertEquals(6, result.getJSONObject("runtime").getJSONObject("operators").getInt("cpu"));
        assertTrue(result.getJSONObject("runtime").getDouble("first_ms") >= 0);
        JSONArray others = result.getJSONArray("providers");
        assertEquals(3, others.length());
        JSONObject fast = others.getJSONObject(0);
        assertTrue(fast.isNull("error"));
        assertEquals("fast", fast.getJSONObject("runtime").getString("provider"));
        assertTrue(fast.getJSONObject("runtime").has("load_ms"));
        JSONObject item = fast.getJSONArray("items").getJSONObject(0);
        assertEquals("mask-0-fast.u16", item.getString("mask"));
        assertEquals(3, item.getJSONArray("inference_ms").length());
        assertEquals(0.5, item.getDouble("agreement"), 0);
        assertTrue(new File(out, "mask-0-fast.u16").isFile());
        assertEquals("RUN_FAILED", others.getJSONObject(1).getJSONObject("error").getString("kind"));
        assertTrue(others.getJSONObject(1).getJSONObject("error").getString("message").contains("no driver"));
        assertFalse(others.getJSONObject(1).has("items"));
        assertEquals("BACKEND_MISSING", others.getJSONObject(2).getJSONObject("error").getString("kind"));
        assertEquals(0, out.list((directory, name) -> name.startsWith("running")).length);
    }

    @Test
    public void aProviderThatEndedTheProcessIsARowOfTheNextResult() throws Exception {
        backend.providers = Arrays.asList("cpu", "fatal", "fast");
        Job job = Job.sample(Packs.manifest(new Pack.Folder(pack)), 1, 1, backend.providers);
        new CrashMark(out).set("fatal"); // what the process leaves behind
        JSONObject row = run(job).getJSONArray("providers").getJSONObject(0);
        assertEquals("fatal", row.getString("provider"));
        assertTrue(row.getJSONObject("error").getString("message").contains("the app ended while it ran"));
        assertEquals("the one after it is run", "fast", backend.opened);
        assertTrue("and it is tried again the time after", run(job).getJSONArray("providers").getJSONObject(0)
                .isNull("error"));
    }

    @Test
    public void aJobNamesItsProviders() throws Exception {
        backend.providers = Arrays.asList("cpu", "fast");
        String json = "{'schema_version': 1, 'id': 'j', 'threads': 1, 'items': [{'input': 'in.png'}], 'providers': ";
        write("job.json", json + "['fast', 'other']}");
        JSONObject result = run(null);
        assertEquals("fast", result.getJSONObject("runtime").getString("provider"));
        assertEquals("PROVIDER_MISSING", result.getJSONArray("providers").getJSONObject(0).getJSONObject("error")
                .getString("kind"));
        write("job.json", json + "['other']}");
        failure(null, "PROVIDER_MISSING");
        write("job.json", json + "[]}");
        result = run(null);
        assertEquals("cpu", result.getJSONObject("runtime").getString("provider"));
        assertFalse(result.has("providers"));
        assertFalse(result.getJSONObject("runtime").has("operators"));
        backend.broken.put("library", new UnsatisfiedLinkError("libfake.so"));
        assertEquals(Collections.singletonList("cpu"), JobRunner.providersOf(backend));
    }

    @Test(timeout = 20000)
    public void aJobIsCancelled() throws Exception {
        JobRunner runner = new JobRunner(
                new Pack.Folder(pack), new ImageIoDecoder(), Collections.singletonMap("model", "JVM"));
        backend.onEachRun = runner::cancel;
        JSONObject result = runner.run(
                Job.sample(Packs.manifest(new Pack.Folder(pack)), 1, 1000), Collections.singletonList(backend), out, out);
        assertEquals("CANCELLED", result.getJSONObject("error").getString("kind"));
        assertEquals("after the run that was under way", 1, backend.runs.get());
    }

    @Test
    public void aJobOfTensors() throws Exception {
        byte[] tensor = new byte[3 * 2 * 4];
        tensor[6] = 0x7F; // 0x437F0000 is 255f: the second pixel's red
        tensor[7] = 0x43;
        Files.write(new File(pack, "0.f32").toPath(), tensor);
        write("job.json", "{'schema_version': 1, 'id': 'j', 'threads': 2, 'items': [{'input': '0.f32',"
                + " 'tensor_size': [1, 2], 'runs': 3}]}");
        JSONObject result = run(null);
        assertTrue(result.toString(), result.isNull("error"));
        assertEquals("j", result.getString("id"));
        assertEquals(2, result.getJSONObject("runtime").getInt("threads"));
        assertFalse(result.getJSONArray("items").getJSONObject(0).has("agreement"));
        assertArrayEquals(new byte[] {0, 0, 1, 0}, Files.readAllBytes(new File(out, "mask-0.u16").toPath()));
    }

    @Test
    public void aSampleThatNoPictureHolds() throws Exception {
        write("manifest.json", Manifests.json("onnx", 2, 1, Manifests.LOGITS)
                .replace("'mean': [0, 0, 0], 'std': [1, 1, 1]", "'mean': [0, 0], 'std': [1, 1]")
                .replace("'color': 'rgb'", "'color': 'channels'").replace("[1, 3, -1, -1]", "[1, 2, 1, 2]")
                .replace("'sample': null", "'sample': {'input': 'in.f32', 'expected_mask': 'mask.png'}"));
        byte[] tensor = new byte[2 * 2 * 4];
        tensor[2] = 0x7F; // 255f in the first pixel's first channel
        tensor[3] = 0x43;
        Files.write(new File(pack, "in.f32").toPath(), tensor);
        JSONObject result = run(Job.sample(Packs.manifest(new Pack.Folder(pack)), 1, 1));
        assertTrue(result.toString(), result.isNull("error"));
        assertEquals(0.5, result.getJSONArray("items").getJSONObject(0).getDouble("agreement"), 0);
    }

    @Test
    public void weightsBesideTheModelAreInstalledWithIt() throws Exception {
        String entry = "'role': 'model'}, {'path': 'parts/w.bin', 'sha256': '" + Manifests.SHA256_OF_ABC
                + "', 'size_bytes': 3, 'role': 'params'}";
        write("manifest.json", Manifests.json("onnx", 2, 1, Manifests.LOGITS).replace("'role': 'model'}", entry));
        Pack folderPack = new Pack.Folder(pack);
        Manifest manifest = Packs.manifest(folderPack);
        SegmentationException missing = assertThrows(
                SegmentationException.class, () -> Packs.install(folderPack, manifest, out));
        assertEquals(SegmentationException.Kind.MODEL_MISSING, missing.kind());
        assertTrue(missing.getMessage(), missing.getMessage().contains("parts/w.bin"));
        assertTrue(new File(pack, "parts").mkdir());
        write("parts/w.bin", "abd");
        assertEquals(SegmentationException.Kind.MODEL_REFUSED, assertThrows(
                SegmentationException.class, () -> Packs.install(folderPack, manifest, out)).kind());
        assertEquals(0, out.list().length);
        write("parts/w.bin", "abc");
        File model = Packs.install(folderPack, manifest, out);
        assertEquals("model.bin", model.getName());
        assertTrue(new File(model.getParentFile(), "parts/w.bin").isFile());
        assertEquals(model, Packs.install(folderPack, manifest, out));
        assertEquals("its folder and nothing else", 1, out.list().length);
    }

    @Test
    public void failuresAreAnswers() throws Exception {
        Job sample = Job.sample(Packs.manifest(new Pack.Folder(pack)), 1, 1);
        write("in.png", "no picture");
        failure(sample, "BAD_IMAGE");
        write("job.json", "{'schema_version': 1, 'id': 'j', 'threads': 1, 'items': [{'input': 'in.png',"
                + " 'tensor_size': [1, 2]}]}");
        assertTrue(failure(null, "BAD_IMAGE").contains("not 3x1x2"));
        assertTrue(failure(null, "BAD_IMAGE").contains("in.png"));
        assertTrue(new File(pack, "job.json").delete());
        assertTrue(failure(null, "RUN_FAILED").contains("job.json"));
        backend.onRun = new OutOfMemoryError();
        Files.write(new File(pack, "0.f32").toPath(), new byte[24]);
        write("job.json", "{'schema_version': 1, 'id': 'j', 'threads': 1, 'items': [{'input': '0.f32',"
                + " 'tensor_size': [1, 2]}]}");
        failure(null, "OUT_OF_MEMORY");
        write("job.json", "{");
        failure(null, "BAD_MANIFEST");
        assertTrue(new File(out, Manifests.SHA256_OF_ABC + ".onnx").delete());
        write("model.bin", "abd");
        assertTrue(failure(sample, "MODEL_REFUSED").contains("sha256"));
        assertTrue(new File(pack, "model.bin").delete());
        failure(sample, "MODEL_MISSING");
        write("manifest.json", Manifests.json("paddle-lite", 2, 1, Manifests.LOGITS));
        assertTrue(failure(sample, "BACKEND_MISSING").contains("paddle-lite"));
        assertTrue(new File(pack, "manifest.json").delete());
        failure(sample, "MODEL_MISSING");
        assertEquals("no half-written file stays", 0, out.listFiles((d, n) -> n.endsWith(".part")).length);
        assertTrue(Arrays.asList(out.list()).contains("result.json"));
    }
}
