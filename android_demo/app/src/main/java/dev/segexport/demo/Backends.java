package dev.segexport.demo;

import android.content.Context;
import dev.segexport.core.Backend;
import java.lang.reflect.Constructor;
import java.util.ArrayList;
import java.util.List;

/** The runtimes that this build of the app holds; which they are is a matter of the Gradle flavour. */
final class Backends {
    private static final String ORT = "dev.segexport.ort.OrtBackend", LITE = "dev.segexport.lite.LiteBackend";
    private static final String LITERT = "dev.segexport.litert.LiteRtBackend", MNN = "dev.segexport.mnn.MnnBackend";
    private static final String NCNN = "dev.segexport.ncnn.NcnnBackend";

    private Backends() {}

    static List<Backend> all(Context context) {
        String builds = context.getString(R.string.paddle_lite_builds).trim();
        List<Backend> backends = new ArrayList<>();
        add(backends, ORT);
        add(backends, LITERT);
        add(backends, MNN);
        add(backends, NCNN);
        add(backends, LITE, (Object) (builds.isEmpty() ? new String[0] : builds.split("\\s+")));
        return backends;
    }

    private static void add(List<Backend> backends, String name, Object... arguments) {
        try {
            Constructor<?> constructor = arguments.length == 0
                    ? Class.forName(name).getDeclaredConstructor()
                    : Class.forName(name).getDeclaredConstructor(String[].class);
            backends.add((Backend) constructor.newInstance(arguments));
        } catch (ReflectiveOperationException | LinkageError notInThisBuild) {
            return;
        }
    }
}
