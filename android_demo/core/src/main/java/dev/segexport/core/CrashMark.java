package dev.segexport.core;

import java.io.File;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;

/**
 * A file that names the provider that runs. A driver that ends the process leaves it behind, so that the next self-test
 * reports that provider instead of ending the app once more.
 */
final class CrashMark {
    private final File file;

    CrashMark(File folder) {
        file = new File(folder, "running-provider.txt");
    }

    /** The provider during whose run the process ended; null where none did. Told once: the run after may try it. */
    String take() throws IOException {
        if (!file.isFile()) {
            return null;
        }
        String provider = new String(Files.readAllBytes(file.toPath()), StandardCharsets.UTF_8);
        clear();
        return provider;
    }

    void set(String provider) throws IOException {
        try (OutputStream out = new FileOutputStream(file)) {
            out.write(provider.getBytes(StandardCharsets.UTF_8));
        }
    }

    void clear() {
        file.delete();
    }
}
