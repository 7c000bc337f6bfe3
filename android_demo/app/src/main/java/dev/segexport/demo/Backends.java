package dev.segexport.demo;

import dev.segexport.core.Backend;
import java.util.ArrayList;
import java.util.List;

/** The runtimes that this build of the app holds; which they are is a matter of the Gradle flavour. */
final class Backends {
    private static final String[] CLASSES = {"dev.segexport.ort.OrtBackend", "dev.segexport.lite.LiteBackend"};

    private Backends() {}

    static List<Backend> all() {
        List<Backend> backends = new ArrayList<>();
        for (String name : CLASSES) {
            try {
                backends.add((Backend) Class.forName(name).getDeclaredConstructor().newInstance());
            } catch (ReflectiveOperationException | LinkageError notInThisBuild) {
                continue;
            }
        }
        return backends;
    }
}
