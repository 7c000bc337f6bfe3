package dev.segexport.mnn;

import com.taobao.android.mnn.MNNForwardType;
import com.taobao.android.mnn.MNNNetInstance;
import dev.segexport.core.Backend;
import dev.segexport.core.Manifest;
import dev.segexport.core.OutputTensor;
import dev.segexport.core.SegmentationException;
import java.io.File;
import java.util.Arrays;

/**
 * MNN on the CPU, by the Java classes of MNN's own Android demo (com.taobao.android.mnn). They check nothing: a tensor
 * of another size writes over foreign memory, and a run that failed says nothing. So sizes are compared before.
 */
public final class MnnBackend implements Backend {
    @Override
    public String name() {
        return "MNN";
    }

    @Override
    public String format() {
        return "mnn";
    }

    @Override
    public Session open(File model, Manifest manifest, int threads) throws SegmentationException {
        MNNNetInstance net = MNNNetInstance.createFromFile(null, model.getPath());
        if (net == null) {
            throw refused(manifest, "it is damaged, or of a later MNN");
        }
        MNNNetInstance.Config config = new MNNNetInstance.Config();
        config.forwardType = MNNForwardType.FORWARD_CPU.type;
        config.numThread = threads;
        MNNNetInstance.Session session = net.createSession(config);
        MNNNetInstance.Session.Tensor input = session == null ? null : session.getInput(manifest.input.name);
        if (input == null || session.getOutput(manifest.mask().name) == null) {
            net.release();
            throw refused(manifest, session == null
                    ? "it has an operator that this MNN lacks"
                    : "it has no " + (input == null ? manifest.input.name : manifest.mask().name));
        }
        return new MnnModel(net, session, input, manifest);
    }

    private static SegmentationException refused(Manifest manifest, String why) {
        return new SegmentationException(
                SegmentationException.Kind.MODEL_REFUSED, "MNN cannot load " + manifest.modelFile + ": " + why);
    }

    private static final class MnnModel implements Session {
        private final MNNNetInstance net;
        private final MNNNetInstance.Session session;
        private final MNNNetInstance.Session.Tensor input;
        private final Manifest manifest;

        MnnModel(
                MNNNetInstance net,
                MNNNetInstance.Session session,
                MNNNetInstance.Session.Tensor input,
                Manifest manifest) {
            this.net = net;
            this.session = session;
            this.input = input;
            this.manifest = manifest;
        }

        /** MNN's Java classes do not tell. */
        @Override
        public String version() {
            return "unknown";
        }

        @Override
        public OutputTensor run(float[] nchw, int height, int width) throws SegmentationException {
            int[] wanted = {1, nchw.length / (height * width), height, width};
            if (!Arrays.equals(input.getDimensions(), wanted)) {
                input.reshape(wanted);
                session.reshape();
            }
            if (!Arrays.equals(input.getDimensions(), wanted)) {
                throw new SegmentationException(
                        SegmentationException.Kind.RUN_FAILED, "MNN: the model takes "
                                + Arrays.toString(input.getDimensions()) + ", this is " + Arrays.toString(wanted));
            }
            input.setInputFloatData(nchw);
            session.run();
            MNNNetInstance.Session.Tensor mask = session.getOutput(manifest.mask().name);
            int[] sizes = mask.getDimensions();
            long[] shape = new long[sizes.length];
            for (int i = 0; i < sizes.length; i++) {
                shape[i] = sizes[i];
            }
            return new OutputTensor(array(mask), shape);
        }

        /** A tensor does not say of which type it is: the manifest does. MNN has no int64 and gives int32 instead. */
        private Object array(MNNNetInstance.Session.Tensor mask) throws SegmentationException {
            String dtype = manifest.mask().dtype;
            switch (dtype) {
                case "float32":
                    return mask.getFloatData();
                case "int32":
                case "int64":
                    return mask.getIntData();
                case "uint8":
                    return mask.getUINT8Data();
                default:
                    throw new SegmentationException(
                            SegmentationException.Kind.UNSUPPORTED, "the model answers with " + dtype);
            }
        }

        @Override
        public void close() {
            net.release();
        }
    }
}
