package dev.segexport.ncnn;

import dev.segexport.core.Backend;
import dev.segexport.core.Manifest;
import dev.segexport.core.OutputTensor;
import dev.segexport.core.SegmentationException;
import java.io.File;

/** ncnn on the CPU, by its C API. Its library comes from its release page. */
public final class NcnnBackend implements Backend {
    @Override
    public String name() {
        return "ncnn";
    }

    @Override
    public String format() {
        return "ncnn";
    }

    @Override
    public Session open(File model, Manifest manifest, int threads) throws SegmentationException {
        if (manifest.weights.size() != 1) {
            throw refused(manifest, "it has " + manifest.weights.size() + " files of weights, ncnn takes one");
        }
        File weights = new File(model.getParentFile(), manifest.weights.get(0).file);
        if (!weights.isFile()) { // ncnn would end the process
            throw new SegmentationException(
                    SegmentationException.Kind.MODEL_MISSING, "there is no model file " + weights.getName());
        }
        int floats = manifest.precision.equals("fp16") ? Ncnn.FP16
                : manifest.precision.equals("bf16") ? Ncnn.BF16 : Ncnn.FP32;
        long net = Ncnn.open(model.getPath(), weights.getPath(), threads, floats);
        if (net == 0) {
            throw refused(manifest, "it is damaged, or has a layer that this ncnn lacks");
        }
        return new NcnnModel(net, manifest);
    }

    private static SegmentationException refused(Manifest manifest, String why) {
        return new SegmentationException(
                SegmentationException.Kind.MODEL_REFUSED, "ncnn cannot load " + manifest.modelFile + ": " + why);
    }

    private static final class NcnnModel implements Session {
        private final String output;
        private long net;

        /** pnnx names tensors by their number, whatever the manifest calls them. */
        NcnnModel(long net, Manifest manifest) {
            this.net = net;
            output = "out" + manifest.maskOutput;
        }

        @Override
        public String version() {
            return Ncnn.version();
        }

        @Override
        public OutputTensor run(float[] nchw, int height, int width) throws SegmentationException {
            int[] shape = new int[5];
            float[] answer = Ncnn.run(net, "in0", output, nchw, height, width, shape);
            if (answer == null) {
                throw new SegmentationException(
                        SegmentationException.Kind.RUN_FAILED, "ncnn: no " + output + " for " + width + "x" + height
                                + " (code " + shape[0] + ")");
            }
            return new OutputTensor(answer, withBatch(shape));
        }

        /** ncnn has no batch axis, and counts its axes from the last one. */
        private static long[] withBatch(int[] shape) {
            switch (shape[0]) {
                case 1:
                    return new long[] {1, shape[1]};
                case 2:
                    return new long[] {1, shape[2], shape[1]};
                case 3:
                    return new long[] {1, shape[4], shape[2], shape[1]};
                default:
                    return new long[] {1, shape[4], shape[3], shape[2], shape[1]};
            }
        }

        @Override
        public void close() {
            if (net != 0) {
                Ncnn.close(net);
                net = 0;
            }
        }
    }
}
