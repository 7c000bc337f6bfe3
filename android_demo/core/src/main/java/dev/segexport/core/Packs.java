package dev.segexport.core;

import java.io.ByteArrayOutputStream;
import java.io.File;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
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
     * Copies the pack's model into {@code folder}, where a runtime can map it, unless it is there already. The file
     * is named by its digest and takes its name only when it is complete; a model with weights beside it gets a folder.
     * Screens may ask for the same model at the same time: one waits for the other.
     *
     * @throws SegmentationException MODEL_MISSING; MODEL_REFUSED where the bytes are not those of the manifest
     */
    public static synchronized File install(Pack pack, Manifest manifest, File folder) throws SegmentationException {
        boolean alone = manifest.weights.isEmpty();
        StringBuilder digests = new StringBuilder(manifest.modelSha256);
        for (Manifest.Weights weights : manifest.weights) {
            digests.append(weights.sha256);
        }
        File place = alone
                ? new File(folder, manifest.modelSha256 + "." + manifest.format)
                : new File(folder, hex(sha256().digest(digests.toString().getBytes(StandardCharsets.UTF_8))));
        File model = alone ? place : new File(place, manifest.modelFile);
        if (model.isFile()) {
            return model;
        }
        File partial = new File(folder, place.getName() + ".part");
        try {
            delete(partial);
            copy(pack, manifest.modelFile, manifest.modelSha256, alone ? partial : new File(partial, manifest.modelFile));
            for (Manifest.Weights weights : manifest.weights) {
                copy(pack, weights.file, weights.sha256, new File(partial, weights.file));
            }
            if (!partial.renameTo(place)) {
                throw new IOException("cannot be renamed to " + place);
            }
            return model;
        } catch (IOException error) {
            throw new SegmentationException(
                    SegmentationException.Kind.MODEL_MISSING,
                    "the model cannot be copied to this device's storage: " + error.getMessage(), error);
        } finally {
            delete(partial);
        }
    }

    private static void delete(File file) {
        File[] children = file.listFiles();
        for (File child : children == null ? new File[0] : children) {
            delete(child);
        }
        file.delete();
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

    private static void copy(Pack pack, String name, String digest, File target)
            throws SegmentationException, IOException {
        InputStream source;
        try {
            source = pack.open(name);
        } catch (IOException error) {
            throw new SegmentationException(
                    SegmentationException.Kind.MODEL_MISSING, "there is no model file " + name, error);
        }
        MessageDigest sha256 = sha256();
        target.getParentFile().mkdirs();
        try (InputStream in = source;
                OutputStream out = new FileOutputStream(target)) {
            byte[] block = new byte[BLOCK];
            for (int count = in.read(block); count >= 0; count = in.read(block)) {
                out.write(block, 0, count);
                sha256.update(block, 0, count);
            }
        }
        if (!hex(sha256.digest()).equals(digest)) {
            throw new SegmentationException(
                    SegmentationException.Kind.MODEL_REFUSED,
                    name + " is not the file that manifest.json describes (another sha256)");
        }
    }

    private static MessageDigest sha256() {
        try {
            return MessageDigest.getInstance("SHA-256");
        } catch (NoSuchAlgorithmException impossible) {
            throw new IllegalStateException(impossible); // every Java has it
        }
    }

    private static String hex(byte[] digest) {
        StringBuilder hex = new StringBuilder();
        for (byte value : digest) {
            hex.append(Character.forDigit(value >> 4 & 15, 16)).append(Character.forDigit(value & 15, 16));
        }
        return hex.toString();
    }
}
