package dev.segexport.demo;

import android.app.Activity;
import android.content.Intent;
import android.os.Build;
import android.os.Bundle;
import android.os.Handler;
import android.os.Looper;
import android.util.Log;
import android.view.View;
import android.widget.TextView;
import dev.segexport.core.Backend;
import dev.segexport.core.Job;
import dev.segexport.core.JobRunner;
import dev.segexport.core.Manifest;
import dev.segexport.core.Pack;
import dev.segexport.core.Packs;
import dev.segexport.core.Percentiles;
import dev.segexport.core.SegmentationException;
import java.io.File;
import java.io.IOException;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import org.json.JSONArray;
import org.json.JSONException;
import org.json.JSONObject;

/**
 * Runs the golden sample of every model on this phone, or a job that a computer pushed (extra "job": the name of a
 * folder in files/jobs), and writes result.json beside it.
 */
public final class SelfTestActivity extends Activity {
    private static final String TAG = "segexport";
    private static final int RUNS = 20;
    private final Handler main = new Handler(Looper.getMainLooper());
    private final StringBuilder report = new StringBuilder();
    private volatile boolean gone;
    private volatile JobRunner sample;
    private Thread thread;

    @Override
    protected void onCreate(Bundle saved) {
        super.onCreate(saved);
        setContentView(R.layout.self_test);
        findViewById(R.id.share).setOnClickListener(view -> share());
        final String job = getIntent().getStringExtra("job");
        thread = new Thread(() -> {
            try {
                if (job == null) {
                    testAll();
                } else {
                    runJob(job);
                }
            } catch (IOException | JSONException | RuntimeException | OutOfMemoryError error) {
                Log.e(TAG, "self-test", error);
                tell(String.valueOf(error.getMessage()));
            }
            main.post(() -> findViewById(R.id.busy).setVisibility(View.INVISIBLE));
        }, "self-test");
        thread.start();
    }

    @Override
    protected void onDestroy() {
        gone = true; // a job that a computer waits for runs on; the samples are run again by the next screen
        JobRunner running = sample;
        if (running != null) {
            running.cancel();
        }
        super.onDestroy();
    }

    private void runJob(String name) throws IOException {
        if (name.contains("/") || name.contains("..")) {
            return;
        }
        File folder = new File(new File(getExternalFilesDir(null), "jobs"), name);
        tell(folder.getPath());
        JSONObject result = runner(new Pack.Folder(folder)).run(null, Backends.all(this), models(), folder);
        tell(String.valueOf(result.optJSONObject("error")));
    }

    private void testAll() throws IOException, JSONException {
        List<AssetPack> packs = AssetPack.all(getAssets());
        if (packs.isEmpty()) {
            tell(getString(R.string.error_model_missing));
        }
        for (AssetPack pack : packs) {
            if (gone) {
                return;
            }
            File folder = new File(new File(getExternalFilesDir(null), "self-test"), pack.name);
            folder.mkdirs();
            tell(pack.name);
            try {
                Manifest manifest = Packs.manifest(pack);
                List<Backend> backends = Backends.all(this);
                List<String> providers = JobRunner.providersOf(JobRunner.backendFor(backends, manifest.format));
                Job job = Job.sample(manifest, Engine.of(this).threads, RUNS, providers);
                sample = runner(pack);
                if (gone) {
                    return;
                }
                show(sample.run(job, backends, models(), folder), folder);
            } catch (SegmentationException error) {
                tell(Messages.of(this, error));
            }
        }
    }

    private void show(JSONObject result, File folder) throws JSONException, IOException {
        if (!result.isNull("error")) {
            tell(result.getJSONObject("error").getString("message"));
            return;
        }
        tellProvider(result.getJSONObject("runtime").getString("provider"), result);
        JSONArray others = result.optJSONArray("providers");
        for (int i = 0; others != null && i < others.length(); i++) {
            tellProvider(others.getJSONObject(i).getString("provider"), others.getJSONObject(i));
        }
        File file = new File(folder, JobRunner.RESULT);
        FilesProvider.offer(this, file, FilesProvider.RESULT);
        tell(getString(R.string.written_to, file.getPath()));
    }

    /** The lines of one provider, or why it has none. */
    private void tellProvider(String provider, JSONObject row) throws JSONException {
        String title = getString(R.string.computed_by, provider.toUpperCase(Locale.ROOT));
        if (!row.isNull("error")) {
            tell(title + ": " + row.getJSONObject("error").getString("message"));
            return;
        }
        JSONObject runtime = row.getJSONObject("runtime");
        tell(title + ": " + getString(R.string.load_times, runtime.getDouble("load_ms"), runtime.getDouble("first_ms")));
        JSONObject operators = runtime.optJSONObject("operators");
        if (operators != null && operators.length() > 0) {
            tell(getString(R.string.operators, operators.toString()));
        }
        JSONObject item = row.getJSONArray("items").getJSONObject(0);
        JSONArray times = item.getJSONArray("inference_ms");
        double[] inference = new double[times.length()];
        for (int i = 0; i < inference.length; i++) {
            inference[i] = times.getDouble(i);
        }
        if (item.has("agreement")) {
            tell(getString(R.string.agreement, 100 * item.getDouble("agreement")));
        }
        tell(getString(R.string.percentiles, inference.length,
                Percentiles.of(inference, 50), Percentiles.of(inference, 90)));
    }

    private JobRunner runner(Pack pack) {
        Map<String, String> device = new LinkedHashMap<>();
        device.put("manufacturer", Build.MANUFACTURER);
        device.put("model", Build.MODEL);
        device.put("android", Build.VERSION.RELEASE);
        device.put("sdk", String.valueOf(Build.VERSION.SDK_INT));
        device.put("abi", Build.SUPPORTED_ABIS[0]);
        device.put("board", Build.BOARD);
        device.put("cores", String.valueOf(Runtime.getRuntime().availableProcessors()));
        return new JobRunner(pack, new BitmapDecoder(), device);
    }

    private File models() {
        File folder = new File(getCacheDir(), "models");
        folder.mkdirs();
        return folder;
    }

    private void tell(final String line) {
        Log.i(TAG, line);
        main.post(() -> {
            report.append(line).append('\n');
            ((TextView) findViewById(R.id.report)).setText(report);
        });
    }

    private void share() {
        Intent send = new Intent(Intent.ACTION_SEND).setType("application/json");
        send.putExtra(Intent.EXTRA_STREAM, FilesProvider.uri(FilesProvider.RESULT));
        send.addFlags(Intent.FLAG_GRANT_READ_URI_PERMISSION);
        startActivity(Intent.createChooser(send, getString(R.string.share)));
    }
}
