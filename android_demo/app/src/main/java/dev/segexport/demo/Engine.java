package dev.segexport.demo;

import android.content.Context;
import android.graphics.Bitmap;
import android.net.Uri;
import android.os.Handler;
import android.os.Looper;
import android.util.Log;
import dev.segexport.core.Backend;
import dev.segexport.core.JobRunner;
import dev.segexport.core.Manifest;
import dev.segexport.core.Mask;
import dev.segexport.core.Overlay;
import dev.segexport.core.Packs;
import dev.segexport.core.Pixels;
import dev.segexport.core.Postprocess;
import dev.segexport.core.Segmentation;
import dev.segexport.core.SegmentationException;
import dev.segexport.core.Segmenter;
import dev.segexport.core.Thumbnail;
import dev.segexport.demo.work.Benchmark;
import dev.segexport.demo.work.CameraPhoto;
import dev.segexport.demo.work.JobQueue;
import dev.segexport.demo.work.Picture;
import java.io.File;
import java.io.FileInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;

/**
 * All that the screen shows and all that takes time; outlives the activity, so that a rotation costs nothing. Work runs
 * on one thread, the state changes on the main thread only.
 */
final class Engine {
    /** Opens a model; takes as long as that takes. */
    interface Opener {
        Segmenter open() throws SegmentationException;
    }

    /** Told whenever there is something new to show; on the main thread. */
    interface Listener {
        void show(Engine engine);
    }

    private static final int LONGEST_SIDE_SHOWN = 1280;
    private static Engine instance;

    private final Context context;
    private final ExecutorService worker = Executors.newSingleThreadExecutor();
    private final Handler main = new Handler(Looper.getMainLooper());
    private final JobQueue jobs = new JobQueue(worker, main::post, this::show);
    private final CameraPhoto photo;
    private Listener listener;
    private Benchmark benchmark;
    private SegmentationException logged;

    // What is shown; the main thread's.
    final List<AssetPack> models;
    int model;
    int threads = Math.min(4, Runtime.getRuntime().availableProcessors());
    /** What computes the model, and what could; CPU unless the user chooses another. */
    String provider = Backend.CPU;
    List<String> providers = Collections.singletonList(Backend.CPU);
    int opacity = 128;
    Bitmap shown;
    Manifest manifest;
    int[] histogram;
    Segmentation timings;
    double overlayMs;
    double[] inferenceMs;

    // What the worker holds; the worker's.
    private Segmenter segmenter;
    private final Picture picture;
    private Thumbnail preview;
    private Mask mask;

    private Engine(Context context) {
        this.context = context;
        models = AssetPack.all(context.getAssets());
        picture = new Picture(new File(context.getCacheDir(), "picture"), new BitmapDecoder());
        photo = new CameraPhoto(new File(context.getCacheDir(), FilesProvider.PHOTO));
        load();
    }

    static synchronized Engine of(Context context) {
        if (instance == null) {
            instance = new Engine(context.getApplicationContext());
        }
        return instance;
    }

    void attach(Listener shown) {
        listener = shown;
        listener.show(this);
    }

    void detach() {
        listener = null;
    }

    void selectModel(int index) {
        if (index != model) {
            model = index;
            load();
        }
    }

    void selectThreads(int count) {
        if (count != threads) {
            threads = count;
            load();
        }
    }

    void selectProvider(String name) {
        if (!name.equals(provider)) {
            provider = name;
            load();
        }
    }

    /** A second one of the model that is chosen, with the same settings, for another screen. */
    Opener another() {
        final AssetPack pack = models.isEmpty() ? null : models.get(model);
        final int count = threads;
        final String wanted = provider;
        return () -> open(pack, count, wanted);
    }

    boolean busy() {
        return jobs.busy();
    }

    SegmentationException error() {
        return jobs.error();
    }

    private void load() {
        stopBenchmark();
        final AssetPack pack = models.isEmpty() ? null : models.get(model);
        final int count = threads;
        final String wanted = provider;
        jobs.add(() -> {
            if (segmenter != null) {
                segmenter.close();
                segmenter = null;
            }
            segmenter = open(pack, count, wanted);
            final Segmenter opened = segmenter;
            main.post(() -> manifest = opened.manifest());
            if (picture.exists()) {
                segment(picture.decode());
            }
        });
    }

    /** On any thread. A model whose runtime lacks the provider runs on the CPU. */
    private Segmenter open(AssetPack pack, int count, String wanted) throws SegmentationException {
        if (pack == null) {
            throw new SegmentationException(SegmentationException.Kind.MODEL_MISSING, "assets/model is empty");
        }
        Manifest read = Packs.manifest(pack);
        File folder = new File(context.getCacheDir(), "models");
        folder.mkdirs();
        File file = Packs.install(pack, read, folder);
        Backend backend = JobRunner.backendFor(Backends.all(context), read.format);
        List<String> found = JobRunner.providersOf(backend);
        String chosen = found.contains(wanted) ? wanted : found.get(0);
        main.post(() -> {
            providers = found;
            provider = provider.equals(wanted) ? chosen : provider;
        });
        return Segmenter.open(backend, file, read, count, chosen);
    }

    void open(final Uri uri) {
        stopBenchmark();
        jobs.add(() -> {
            try (InputStream in = context.getContentResolver().openInputStream(uri)) {
                if (in == null) {
                    throw new SegmentationException(SegmentationException.Kind.BAD_IMAGE, "the image is gone");
                }
                take(in);
            } catch (SecurityException refused) {
                throw new SegmentationException(
                        SegmentationException.Kind.BAD_IMAGE, "the image may not be read any more", refused);
            }
        });
    }

    /** To be called before the camera app is started; at once, since the camera does not wait for the worker. */
    void askForPhoto() {
        try {
            photo.ask();
        } catch (IOException stuck) {
            jobs.add(() -> {
                throw stuck;
            });
        }
    }

    /** Opens what the camera app wrote. */
    void openPhoto() {
        stopBenchmark();
        jobs.add(() -> {
            try (InputStream in = new FileInputStream(photo.taken())) {
                take(in);
            }
        });
    }

    private void take(InputStream in) throws SegmentationException, IOException {
        Pixels image = picture.replace(in);
        mask = null;
        preview = null;
        preview = Thumbnail.of(image, LONGEST_SIDE_SHOWN);
        draw(opacity);
        segment(image);
    }

    void setOpacity(final int value) {
        opacity = value;
        jobs.add(() -> draw(value));
    }

    boolean measures() {
        return benchmark != null;
    }

    /** Segments the image {@code runs} times, and shows the times; a second call stops the first. */
    void benchmark(final int runs) {
        if (benchmark != null) {
            stopBenchmark();
            return;
        }
        final Benchmark started = new Benchmark(runs);
        benchmark = started;
        jobs.add(() -> {
            try {
                if (!picture.exists() || segmenter == null) {
                    return;
                }
                Pixels image = picture.decode();
                double[] times = started.measure(() -> segmenter.segment(image).inferenceMs);
                main.post(() -> inferenceMs = times.length == 0 ? null : times);
            } finally {
                main.post(() -> benchmark = benchmark == started ? null : benchmark);
            }
        });
    }

    private void stopBenchmark() {
        if (benchmark != null) {
            benchmark.stop();
            benchmark = null;
        }
    }

    private void segment(Pixels image) throws SegmentationException {
        if (segmenter == null || preview == null) {
            return;
        }
        Segmentation answer = segmenter.segment(image);
        mask = Postprocess.restore(answer.mask, answer.placement, preview.width, preview.height);
        main.post(() -> {
            timings = answer;
            inferenceMs = null;
        });
        draw(opacity);
    }

    private void draw(int wanted) {
        if (preview == null) {
            return;
        }
        long started = System.nanoTime();
        int[] argb = preview.argb;
        int[] counts = null;
        if (mask != null && segmenter != null) {
            int[] palette = Overlay.palette(segmenter.manifest());
            argb = Overlay.blend(argb, mask, palette, wanted);
            counts = Overlay.histogram(mask, palette.length);
        }
        Bitmap drawn = Bitmap.createBitmap(argb, preview.width, preview.height, Bitmap.Config.ARGB_8888);
        double took = (System.nanoTime() - started) / 1e6;
        int[] pixels = counts;
        main.post(() -> {
            shown = drawn;
            histogram = pixels;
            overlayMs = took;
        });
    }

    private void show() {
        if (jobs.error() != null && jobs.error() != logged) {
            logged = jobs.error();
            Log.e("segexport", logged.getMessage(), logged);
        }
        if (listener != null) {
            listener.show(this);
        }
    }
}
