package dev.segexport.core;

import java.io.ByteArrayOutputStream;
import java.io.File;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;

/** Reads the files of a pack, with typed errors. */
public final class Packs {
    private static final int BLOCK = 1 << 16;

    private Packs() {}

    /** @throws SegmentationException MODEL_MISSING where the pack has no manifest.json; BAD_MANIFEST, UNSUPPORTED */
    public static Manifest manifest(Pack pack) throws SegmentationException {
        try {
            return Manifest.parse(read(pack, "manifest.json"));
        } catch (IOException error) {
            throw new SegmentationException(
                    SegmentationException.Kind.MODEL_MISSING, "there is no manifest.json: no model was built in", error);
        }
    }

    /**
     * Copies the pack's model into {@code folder}, where a runtime can map it, unless it lies there already. The file
     * is named by its digest and takes its name only when it is complete.
     *
     * @throws SegmentationException MODEL_MISSING; MODEL_REFUSED where the bytes are not those of the manifest
     */
    public static File install(Pack pack, Manifest manifest, File folder) throws SegmentationException {
        File model = new File(folder, manifest.modelSha256 + "." + manifest.format);
        if (model.isFile()) {
            return model;
        }
        InputStream in;
        try {
            in = pack.open(manifest.modelFile);
        } catch (IOException error) {
            throw new SegmentationException(
                    SegmentationException.Kind.MODEL_MISSING, "there is no model file " + manifest.modelFile, error);
        }
        File partial = new File(folder, model.getName() + ".part");
        try {
            String digest = copy(in, partial);
            if (!digest.equals(manifest.modelSha256)) {
                throw new SegmentationException(
                        SegmentationException.Kind.MODEL_REFUSED,
                        manifest.modelFile + " is not the file that manifest.json describes (another sha256)");
            }
            if (!partial.renameTo(model)) {
                throw new IOException("cannot be renamed to " + model);
            }
            return model;
        } catch (IOException error) {
            throw new SegmentationException(
                    SegmentationException.Kind.MODEL_MISSING,
                    "the model cannot be copied to this device's storage: " + error.getMessage(), error);
        } finally {
            partial.delete();
        }
    }

    public static byte[] read(Pack pack, String name) throws IOException {
        try (InputStream in = pack.open(name)) {
            ByteArrayOutputStream bytes = new ByteArrayOutputStream();
            byte[] block = new byte[BLOCK];
            for (int count = in.read(block); count >= 0; count = in.read(block)) {
                bytes.write(block, 0, count);
            }
            return bytes.toByteArray();
        }
    }

    private static String copy(InputStream source, File target) throws IOException {
        MessageDigest sha256;
        try {
            sha256 = MessageDigest.getInstance("SHA-256");
        } catch (NoSuchAlgorithmException impossible) {
            throw new IllegalStateException(impossible); // every Java has it
        }
        try (InputStream in = source;
                OutputStream out = new FileOutputStream(target)) {
            byte[] block = new byte[BLOCK];
            for (int count = in.read(block); count >= 0; count = in.read(block)) {
                out.write(block, 0, count);
                sha256.update(block, 0, count);
            }
        }
        StringBuilder hex = new StringBuilder();
        for (byte value : sha256.digest()) {
            hex.append(Character.forDigit(value >> 4 & 15, 16)).append(Character.forDigit(value & 15, 16));
        }
        return hex.toString();
    }
}
