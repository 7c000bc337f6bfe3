package dev.segexport.lite;

import com.baidu.paddle.lite.MobileConfig;
import com.baidu.paddle.lite.PaddlePredictor;
import com.baidu.paddle.lite.PowerMode;
import com.baidu.paddle.lite.Tensor;
import dev.segexport.core.Backend;
import dev.segexport.core.Manifest;
import dev.segexport.core.OutputTensor;
import dev.segexport.core.SegmentationException;
import java.io.File;
import java.util.Arrays;
import java.util.Collections;
import java.util.HashSet;
import java.util.Set;

/** Paddle-Lite. Its jar and its native library come from its release page, of the version that wrote the .nb file. */
public final class LiteBackend implements Backend {
    /** What a library has that was built with {@code --with_arm82_fp16=ON}; fp16 models need it. */
    public static final String FP16 = "fp16";

    private final Set<String> builds;

    /** For the library as it is usually built. */
    public LiteBackend() {
        this(Collections.<String>emptySet());
    }

    /**
     * For a library that was built with more than usual.
     *
     * @param builds what it was built with, such as {@link #FP16}. A build that the library lacks ends the process
     *     when a model of that kind is loaded: Paddle-Lite aborts, and Java cannot catch it.
     */
    public LiteBackend(String... builds) {
        this(new HashSet<>(Arrays.asList(builds)));
    }

    private LiteBackend(Set<String> builds) {
        this.builds = builds;
    }

    @Override
    public String name() {
        return "Paddle-Lite";
    }

    @Override
    public String format() {
        return "paddle-lite";
    }

    @Override
    public Session open(File model, Manifest manifest, int threads) throws SegmentationException {
        if (manifest.requiredBuild != null && !builds.contains(manifest.requiredBuild)) {
            throw new SegmentationException(
                    SegmentationException.Kind.LIBRARY_UNSUITABLE,
                    manifest.modelFile + " needs a Paddle-Lite library that was built with " + manifest.requiredBuild
                            + "; with another one it would end the app");
        }
        MobileConfig config = new MobileConfig();
        config.setModelFromFile(model.getPath());
        config.setThreads(threads);
        config.setPowerMode(PowerMode.LITE_POWER_NO_BIND);
        PaddlePredictor predictor = PaddlePredictor.createPaddlePredictor(config);
        if (predictor == null) {
            throw new SegmentationException(
                    SegmentationException.Kind.MODEL_REFUSED,
                    "Paddle-Lite cannot load " + manifest.modelFile + "; was it written by another version?");
        }
        return new LiteModel(predictor, manifest);
    }

    private static final class LiteModel implements Session {
        private final Manifest manifest;
        private PaddlePredictor predictor;

        LiteModel(PaddlePredictor predictor, Manifest manifest) {
            this.predictor = predictor;
            this.manifest = manifest;
        }

        @Override
        public String version() {
            return predictor.getVersion();
        }

        @Override
        public OutputTensor run(float[] nchw, int height, int width) throws SegmentationException {
            Tensor input = predictor.getInput(0);
            long channels = nchw.length / ((long) height * width);
            if (!input.resize(new long[] {1, channels, height, width}) || !input.setData(nchw) || !predictor.run()) {
                throw new SegmentationException(
                        SegmentationException.Kind.RUN_FAILED, "Paddle-Lite cannot run the model on " + width + "x"
                                + height);
            }
            Tensor output = predictor.getOutput(manifest.maskOutput);
            return new OutputTensor(array(output), output.shape());
        }

        /** The API gives any tensor as any type, without a word: the manifest says which is right. */
        private Object array(Tensor output) throws SegmentationException {
            String dtype = manifest.mask().dtype;
            switch (dtype) {
                case "float32":
                    return output.getFloatData();
                case "int32":
                    return output.getIntData();
                case "int64":
                    return output.getLongData();
                case "uint8":
                case "int8":
                    return output.getByteData();
                default:
                    throw new SegmentationException(
                            SegmentationException.Kind.UNSUPPORTED, "the model answers with " + dtype);
            }
        }

        /** The predictor frees its memory when it is collected; there is no call for it. */
        @Override
        public void close() {
            predictor = null;
        }
    }
}
