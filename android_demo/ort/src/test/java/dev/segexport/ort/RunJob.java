package dev.segexport.ort;

import dev.segexport.core.Backend;
import dev.segexport.core.ImageIoDecoder;
import dev.segexport.core.JobRunner;
import dev.segexport.core.Pack;
import java.io.File;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.Map;

/** What the app does with a job, on a JVM: RunJob FOLDER... Each answer is written into its folder. */
public final class RunJob {
    private RunJob() {}

    public static void main(String[] arguments) throws Exception {
        Map<String, String> device = new LinkedHashMap<>();
        device.put("model", "JVM " + System.getProperty("java.version"));
        device.put("abi", System.getProperty("os.arch"));
        for (String argument : arguments) {
            File folder = new File(argument);
            new JobRunner(new Pack.Folder(folder), new ImageIoDecoder(), device)
                    .run(null, Collections.<Backend>singletonList(new OrtBackend()), folder, folder);
        }
    }
}
