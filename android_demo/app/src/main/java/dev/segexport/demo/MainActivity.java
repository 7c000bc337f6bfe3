package dev.segexport.demo;

import android.app.Activity;
import android.content.ActivityNotFoundException;
import android.content.Intent;
import android.content.pm.PackageManager;
import android.os.Build;
import android.os.Bundle;
import android.provider.MediaStore;
import android.text.SpannableStringBuilder;
import android.text.Spanned;
import android.text.style.ForegroundColorSpan;
import android.view.View;
import android.widget.AdapterView;
import android.widget.ArrayAdapter;
import android.widget.ImageView;
import android.widget.SeekBar;
import android.widget.Spinner;
import android.widget.TextView;
import dev.segexport.core.Label;
import dev.segexport.core.Percentiles;
import dev.segexport.core.SegmentationException;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;

/** A picture, its classes on top, and what they cost in milliseconds. */
public final class MainActivity extends Activity implements Engine.Listener {
    private static final int PICK = 1;
    private static final int CAMERA = 2;
    private static final int BENCHMARK_RUNS = 30;
    private static final int[] THREADS = {1, 2, 4, 8};
    private Engine engine;
    /** Those that can be chosen now. */
    private List<String> providers;

    @Override
    protected void onCreate(Bundle saved) {
        super.onCreate(saved);
        setContentView(R.layout.main);
        engine = Engine.of(this);
        findViewById(R.id.pick).setOnClickListener(view -> pick());
        findViewById(R.id.camera).setOnClickListener(view -> photograph());
        findViewById(R.id.live).setOnClickListener(view -> startActivity(new Intent(this, LiveActivity.class)));
        findViewById(R.id.benchmark).setOnClickListener(view -> engine.benchmark(BENCHMARK_RUNS));
        findViewById(R.id.self_test).setOnClickListener(
                view -> startActivity(new Intent(this, SelfTestActivity.class)));
        SeekBar opacity = (SeekBar) findViewById(R.id.opacity);
        opacity.setProgress(engine.opacity);
        opacity.setOnSeekBarChangeListener(new SeekBar.OnSeekBarChangeListener() {
            @Override
            public void onProgressChanged(SeekBar bar, int value, boolean byUser) {}

            @Override
            public void onStartTrackingTouch(SeekBar bar) {}

            @Override
            public void onStopTrackingTouch(SeekBar bar) {
                engine.setOpacity(bar.getProgress());
            }
        });
        List<String> models = new ArrayList<>();
        for (AssetPack pack : engine.models) {
            models.add(pack.name);
        }
        choose(R.id.model, models, engine.model, engine::selectModel);
        List<String> threads = new ArrayList<>();
        int current = 0;
        for (int i = 0; i < THREADS.length; i++) {
            threads.add(getString(R.string.threads, THREADS[i]));
            current = THREADS[i] <= engine.threads ? i : current;
        }
        choose(R.id.threads, threads, current, index -> engine.selectThreads(THREADS[index]));
    }

    /** The providers of the model's runtime, which are known once the model is loaded. */
    private void showProviders(Engine shown) {
        if (shown.providers.equals(providers)) {
            return;
        }
        providers = shown.providers;
        List<String> names = new ArrayList<>();
        for (String provider : providers) {
            names.add(getString(R.string.computed_by, provider.toUpperCase(Locale.ROOT)));
        }
        choose(R.id.provider, names, Math.max(0, providers.indexOf(shown.provider)),
                index -> engine.selectProvider(shown.providers.get(index)));
    }

    private interface Choice {
        void chosen(int index);
    }

    private void choose(int id, List<String> entries, int current, final Choice choice) {
        Spinner spinner = (Spinner) findViewById(id);
        ArrayAdapter<String> adapter = new ArrayAdapter<>(this, android.R.layout.simple_spinner_item, entries);
        adapter.setDropDownViewResource(android.R.layout.simple_spinner_dropdown_item);
        spinner.setAdapter(adapter);
        spinner.setSelection(current);
        spinner.setOnItemSelectedListener(new AdapterView.OnItemSelectedListener() {
            @Override
            public void onItemSelected(AdapterView<?> parent, View view, int index, long row) {
                choice.chosen(index);
            }

            @Override
            public void onNothingSelected(AdapterView<?> parent) {}
        });
    }

    @Override
    protected void onStart() {
        super.onStart();
        engine.attach(this);
    }

    @Override
    protected void onStop() {
        engine.detach();
        super.onStop();
    }

    /** The system's photo picker where there is one: it needs no permission and shows the app one picture only. */
    private void pick() {
        Intent intent;
        if (Build.VERSION.SDK_INT >= 33) {
            intent = new Intent(MediaStore.ACTION_PICK_IMAGES);
        } else {
            intent = new Intent(Intent.ACTION_GET_CONTENT).addCategory(Intent.CATEGORY_OPENABLE);
        }
        start(intent.setType("image/*"), PICK);
    }

    /**
     * The phone's camera app takes the photo. Android lets an app start it without a permission, unless the app declares
     * that permission for a purpose of its own, as this one does for {@link LiveActivity}: then it needs to have it.
     */
    private void photograph() {
        if (checkSelfPermission(android.Manifest.permission.CAMERA) != PackageManager.PERMISSION_GRANTED) {
            requestPermissions(new String[] {android.Manifest.permission.CAMERA}, CAMERA);
            return;
        }
        Intent intent = new Intent(MediaStore.ACTION_IMAGE_CAPTURE);
        intent.putExtra(MediaStore.EXTRA_OUTPUT, FilesProvider.uri(FilesProvider.PHOTO));
        intent.addFlags(Intent.FLAG_GRANT_WRITE_URI_PERMISSION | Intent.FLAG_GRANT_READ_URI_PERMISSION);
        engine.askForPhoto();
        start(intent, CAMERA);
    }

    @Override
    public void onRequestPermissionsResult(int request, String[] permissions, int[] results) {
        if (results.length > 0 && results[0] == PackageManager.PERMISSION_GRANTED) {
            photograph();
        } else if (results.length > 0) {
            status().setText(Messages.of(this, new SegmentationException(
                    SegmentationException.Kind.CAMERA_REFUSED, getString(R.string.allow_in_settings))));
        }
    }

    private void start(Intent intent, int request) {
        try {
            startActivityForResult(intent, request);
        } catch (ActivityNotFoundException none) {
            status().setText(R.string.no_app_for_that);
        }
    }

    @Override
    protected void onActivityResult(int request, int result, Intent data) {
        if (result != RESULT_OK) {
            return;
        }
        if (request == CAMERA) {
            engine.openPhoto();
        } else if (data != null && data.getData() != null) {
            engine.open(data.getData());
        }
    }

    @Override
    public void show(Engine shown) {
        if (shown.shown != null) {
            ((ImageView) findViewById(R.id.picture)).setImageBitmap(shown.shown);
        }
        showProviders(shown);
        findViewById(R.id.busy).setVisibility(shown.busy() ? View.VISIBLE : View.INVISIBLE);
        ((TextView) findViewById(R.id.benchmark)).setText(shown.measures() ? R.string.stop : R.string.benchmark);
        ((TextView) findViewById(R.id.legend)).setText(legend(shown));
        status().setText(shown.error() != null ? Messages.of(this, shown.error()) : times(shown));
    }

    private TextView status() {
        return (TextView) findViewById(R.id.status);
    }

    private String times(Engine shown) {
        if (shown.timings == null) {
            return shown.busy() ? getString(R.string.loading) : getString(R.string.pick_an_image);
        }
        String text = getString(R.string.times, shown.timings.preprocessMs, shown.timings.inferenceMs,
                shown.timings.postprocessMs + shown.overlayMs);
        if (shown.inferenceMs != null) {
            text += "\n" + getString(R.string.percentiles, shown.inferenceMs.length,
                    Percentiles.of(shown.inferenceMs, 50), Percentiles.of(shown.inferenceMs, 90));
        }
        return text;
    }

    /** A square of its colour, the name and the share of the picture, for each class that occurs. */
    private CharSequence legend(Engine shown) {
        SpannableStringBuilder text = new SpannableStringBuilder();
        if (shown.histogram == null || shown.manifest == null) {
            return text;
        }
        long all = 0;
        for (int count : shown.histogram) {
            all += count;
        }
        for (Label label : shown.manifest.labels) {
            int count = label.id < shown.histogram.length ? shown.histogram[label.id] : 0;
            if (count == 0) {
                continue;
            }
            int start = text.length();
            text.append("\u25A0 ");
            text.setSpan(new ForegroundColorSpan(label.argb), start, start + 1, Spanned.SPAN_EXCLUSIVE_EXCLUSIVE);
            text.append(getString(R.string.legend_entry, label.name, 100.0 * count / all)).append("   ");
        }
        return text;
    }
}
