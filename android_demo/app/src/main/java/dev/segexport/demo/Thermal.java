package dev.segexport.demo;

import android.os.Build;
import android.os.PowerManager;
import dev.segexport.demo.work.CameraLease;

/** How hot the phone is. A class of its own, since Android 9 and older lack what it uses. */
final class Thermal {
    /** As long as nothing is known. */
    static final int UNKNOWN = -1;
    private static final int SINCE = 29;
    private static final int[] NAMES = {
        R.string.thermal_none, R.string.thermal_light, R.string.thermal_moderate, R.string.thermal_severe,
        R.string.thermal_critical, R.string.thermal_emergency, R.string.thermal_shutdown
    };

    private volatile int status = UNKNOWN;

    /** Follows the phone's status until the lease ends. */
    static Thermal follow(PowerManager power, CameraLease lease) {
        Thermal thermal = new Thermal();
        if (Build.VERSION.SDK_INT >= SINCE && power != null) {
            Listening.start(power, thermal, lease);
        }
        return thermal;
    }

    /** The status as a string of the app; 0 where the phone does not tell. */
    int name() {
        return status >= 0 && status < NAMES.length ? NAMES[status] : 0;
    }

    /** Loaded only where the interface exists. */
    private static final class Listening {
        static void start(PowerManager power, Thermal thermal, CameraLease lease) {
            PowerManager.OnThermalStatusChangedListener listener = status -> thermal.status = status;
            thermal.status = power.getCurrentThermalStatus();
            power.addThermalStatusListener(listener);
            lease.hold(() -> power.removeThermalStatusListener(listener));
        }
    }
}
