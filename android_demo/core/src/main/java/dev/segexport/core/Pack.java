package dev.segexport.core;

import java.io.File;
import java.io.FileInputStream;
import java.io.IOException;
import java.io.InputStream;

/** A folder that `segexport android` wrote: manifest.json, the model, and the golden sample. */
public interface Pack {
    InputStream open(String name) throws IOException;

    /** A pack in the file system. */
    final class Folder implements Pack {
        private final File root;

        public Folder(File root) {
            this.root = root;
        }

        @Override
        public InputStream open(String name) throws IOException {
            return new FileInputStream(new File(root, name));
        }
    }
}
