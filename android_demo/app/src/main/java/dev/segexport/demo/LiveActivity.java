package dev.segexport.demo;

import android.app.Activity;
import android.content.pm.PackageManager;
import android.hardware.camera2.CameraManager;
import android.os.Bundle;
import android.os.Handler;
import android.os.HandlerThread;
import android.os.Looper;
import android.os.PowerManager;
import android.util.Log;
import android.view.SurfaceView;
import android.widget.SeekBar;
import android.widget.TextView;
import dev.segexport.core.LiveStream;
import dev.segexport.core.SegmentationException;
import dev.segexport.core.Segmenter;
import dev.segexport.core.YuvFrame;
import dev.segexport.demo.work.CameraLease;
import dev.segexport.demo.work.FrameRate;

/**
 * The camera's pictures with the model's answer over them. The camera, its pictures and the drawing have one thread, the
 * model has another; a {@link CameraLease} holds all that is open between onResume and onPause.
 */
public final class LiveActivity extends Activity {
    private static final String FRONT = "front", ASKED = "asked";
    private static final int ASK = 1;
    private static final long STATUS_NANOS = 500_000_000;

    private final Handler main = new Handler(Looper.getMainLooper());
    private final LivePreview preview = new LivePreview();
    private HandlerThread thread;
    private Handler camera;
    private Engine engine;
    private boolean front;
    /** Whether the user was asked for the camera: once each time that this screen is opened. */
    private boolean asked;
    /** Null while the screen is not shown. */
    private CameraLease lease;
    private volatile int opacity;

    @Override
    protected void onCreate(Bundle saved) {
        super.onCreate(saved);
        setContentView(R.layout.live);
        engine = Engine.of(this);
        front = saved != null && saved.getBoolean(FRONT);
        asked = saved != null && saved.getBoolean(ASKED);
        thread = new HandlerThread("camera");
        thread.start();
        camera = new Handler(thread.getLooper());
        opacity = engine.opacity;
        SeekBar bar = (SeekBar) findViewById(R.id.opacity);
        bar.setProgress(opacity);
        bar.setOnSeekBarChangeListener(new SeekBar.OnSeekBarChangeListener() {
            @Override
            public void onProgressChanged(SeekBar changed, int value, boolean byUser) {
                opacity = value;
            }

            @Override
            public void onStartTrackingTouch(SeekBar changed) {}

            @Override
            public void onStopTrackingTouch(SeekBar changed) {}
        });
        findViewById(R.id.turn).setOnClickListener(button -> turn());
        ((SurfaceView) findViewById(R.id.preview)).getHolder().addCallback(preview);
    }

    @Override
    protected void onSaveInstanceState(Bundle state) {
        super.onSaveInstanceState(state);
        state.putBoolean(FRONT, front);
        state.putBoolean(ASKED, asked);
    }

    @Override
    protected void onResume() {
        super.onResume();
        if (checkSelfPermission(android.Manifest.permission.CAMERA) == PackageManager.PERMISSION_GRANTED) {
            start();
        } else if (!asked) {
            asked = true; // the question pauses this screen, and its answer resumes it
            requestPermissions(new String[] {android.Manifest.permission.CAMERA}, ASK);
        } else {
            show(new SegmentationException(
                    SegmentationException.Kind.CAMERA_REFUSED, getString(R.string.allow_in_settings)));
        }
    }

    @Override
    protected void onPause() {
        stop();
        super.onPause();
    }

    @Override
    protected void onDestroy() {
        thread.quitSafely(); // after what onPause has given it to close
        super.onDestroy();
    }

    private void turn() {
        front = !front;
        if (lease != null) {
            stop();
            start();
        }
    }

    private void start() {
        final Shown shown = new Shown(new CameraLease(), engine.another());
        lease = shown.lease;
        status(getString(R.string.loading));
        final CameraManager cameras = getSystemService(CameraManager.class);
        final boolean wantsFront = front;
        camera.post(() -> new LiveCamera(cameras, camera, shown.lease, shown).open(wantsFront));
        new Thread(shown::load, "load").start();
    }

    /** All is closed on the camera's thread, so that a picture that is looked at is finished first. */
    private void stop() {
        final CameraLease old = lease;
        lease = null;
        if (old != null) {
            camera.post(old::close);
        }
    }

    private void show(SegmentationException error) {
        Log.e("segexport", error.getMessage(), error);
        main.post(() -> status(Messages.of(this, error)));
    }

    private void status(String text) {
        ((TextView) findViewById(R.id.status)).setText(text);
    }

    /** What is shown between one onResume and its onPause. */
    private final class Shown implements LiveCamera.Listener, LiveStream.Listener {
        final CameraLease lease;
        private final Engine.Opener opener;
        private final Thermal thermal;
        private final FrameRate previews = new FrameRate(System.nanoTime());
        private final FrameRate answers = new FrameRate(System.nanoTime());
        private volatile LiveStream stream;
        private volatile String provider = "";
        private volatile boolean broken;
        private long pictures;
        private long told = System.nanoTime();

        Shown(CameraLease lease, Engine.Opener opener) {
            this.lease = lease;
            this.opener = opener;
            thermal = Thermal.follow(getSystemService(PowerManager.class), lease);
        }

        /** Takes as long as the model needs; the camera's pictures are shown meanwhile. */
        void load() {
            try {
                final Segmenter segmenter = opener.open();
                provider = segmenter.provider();
                if (!lease.hold(segmenter::close)) {
                    return;
                }
                LiveStream made = new LiveStream(segmenter, this);
                if (lease.hold(made::close)) {
                    stream = made;
                }
            } catch (SegmentationException error) {
                failed(error);
            } catch (RuntimeException | LinkageError | OutOfMemoryError error) {
                failed(new SegmentationException(SegmentationException.Kind.RUN_FAILED, error.toString(), error));
            }
        }

        @Override
        public int rotation() {
            return getWindowManager().getDefaultDisplay().getRotation();
        }

        @Override
        public void picture(YuvFrame frame) {
            preview.draw(frame, stream, opacity);
            pictures++;
            long now = System.nanoTime();
            if (now - told >= STATUS_NANOS && !broken) {
                told = now;
                String text = text(now);
                main.post(() -> {
                    if (!lease.isClosed() && !broken) {
                        status(text);
                    }
                });
            }
        }

        private String text(long now) {
            LiveStream running = stream;
            double shown = previews.at(pictures, now);
            String text = getString(R.string.live_preview, shown);
            if (running != null) {
                LiveStream.Counts counts = running.counts();
                text += "\n" + getString(R.string.live_answers, answers.at(counts.segmented, now), counts.answerMs,
                        counts.dropped, provider);
            } else {
                text += "\n" + getString(R.string.loading);
            }
            return thermal.name() == 0 ? text
                    : text + "\n" + getString(R.string.thermal, getString(thermal.name()));
        }

        /** Of the camera, or of the model: then the camera's pictures go on alone. */
        @Override
        public void failed(SegmentationException error) {
            broken = true;
            stream = null;
            show(error);
        }
    }
}
