package dev.segexport.demo;

import android.content.Context;
import android.graphics.Bitmap;
import android.net.Uri;
import android.os.Handler;
import android.os.Looper;
import android.util.Log;
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
import java.io.File;
import java.io.IOException;
import java.io.InputStream;
import java.util.List;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;

/**
 * All that the screen shows and all that takes time; outlives the activity, so that a rotation costs nothing. Work runs
 * on one thread, the state changes on the main thread only.
 */
final class Engine {
    /** Told whenever there is something new to show; on the main thread. */
    interface Listener {
        void show(Engine engine);
    }

    /** Work whose failure is shown instead of a result. */
    private interface Work {
        void run() throws SegmentationException, IOException;
    }

    private static final int LONGEST_SIDE_SHOWN = 1280;
    private static Engine instance;

    private final Context context;
    private final ExecutorService worker = Executors.newSingleThreadExecutor();
    private final Handler main = new Handler(Looper.getMainLooper());
    private Listener listener;

    // What is shown; the main thread's.
    final List<AssetPack> models;
    int model;
    int threads = Math.min(4, Runtime.getRuntime().availableProcessors());
    int opacity = 128;
    boolean busy;
    Bitmap picture;
    Manifest manifest;
    int[] histogram;
    Segmentation timings;
    double overlayMs;
    double[] inferenceMs;
    SegmentationException error;

    // What the worker holds; the worker's.
    private Segmenter segmenter;
    private Pixels image;
    private Thumbnail preview;
    private Mask mask;

    private Engine(Context context) {
        this.context = context;
        models = AssetPack.all(context.getAssets());
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

    private void load() {
        final AssetPack pack = models.isEmpty() ? null : models.get(model);
        final int count = threads;
        run(() -> {
            if (segmenter != null) {
                segmenter.close();
                segmenter = null;
            }
            if (pack == null) {
                throw new SegmentationException(SegmentationException.Kind.MODEL_MISSING, "assets/model is empty");
            }
            Manifest read = Packs.manifest(pack);
            File folder = new File(context.getCacheDir(), "models");
            folder.mkdirs();
            File file = Packs.install(pack, read, folder);
            segmenter = Segmenter.open(JobRunner.backendFor(Backends.all(context), read.format), file, read, count);
            main.post(() -> manifest = read);
            segment();
        });
    }

    void open(final Uri uri) {
        run(() -> {
            try (InputStream in = context.getContentResolver().openInputStream(uri)) {
                if (in == null) {
                    throw new SegmentationException(SegmentationException.Kind.BAD_IMAGE, "the image is gone");
                }
                image = new BitmapDecoder().decode(in);
            } catch (SecurityException refused) {
                throw new SegmentationException(
                        SegmentationException.Kind.BAD_IMAGE, "the image may not be read any more", refused);
            }
            preview = Thumbnail.of(image, LONGEST_SIDE_SHOWN);
            mask = null;
            draw(opacity);
            segment();
        });
    }

    void setOpacity(final int value) {
        opacity = value;
        run(() -> draw(value));
    }

    /** Segments the image {@code runs} times; the times of all of them are shown. */
    void benchmark(final int runs) {
        run(() -> {
            if (image == null || segmenter == null) {
                return;
            }
            double[] times = new double[runs];
            segmenter.segment(image);
            for (int i = 0; i < runs; i++) {
                times[i] = segmenter.segment(image).inferenceMs;
            }
            main.post(() -> inferenceMs = times);
        });
    }

    private void segment() throws SegmentationException {
        if (image == null || segmenter == null) {
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
            picture = drawn;
            histogram = pixels;
            overlayMs = took;
        });
    }

    private void run(final Work work) {
        busy = true;
        show();
        worker.execute(() -> {
            SegmentationException failure = null;
            try {
                work.run();
            } catch (SegmentationException problem) {
                failure = problem;
            } catch (IOException problem) {
                failure = new SegmentationException(
                        SegmentationException.Kind.BAD_IMAGE, String.valueOf(problem.getMessage()), problem);
            } catch (OutOfMemoryError problem) {
                failure = new SegmentationException(
                        SegmentationException.Kind.OUT_OF_MEMORY, "not enough memory", problem);
            }
            if (failure != null) {
                Log.e("segexport", failure.getMessage(), failure);
            }
            SegmentationException shown = failure;
            main.post(() -> {
                busy = false;
                error = shown;
                show();
            });
        });
    }

    private void show() {
        if (listener != null) {
            listener.show(this);
        }
    }
}
