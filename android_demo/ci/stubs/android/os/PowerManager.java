package android.os;

public final class PowerManager {
    PowerManager() {}

    public interface OnThermalStatusChangedListener {
        void onThermalStatusChanged(int status);
    }

    public int getCurrentThermalStatus() {
        throw new UnsupportedOperationException("stub");
    }

    public void addThermalStatusListener(OnThermalStatusChangedListener listener) {
        throw new UnsupportedOperationException("stub");
    }

    public void removeThermalStatusListener(OnThermalStatusChangedListener listener) {
        throw new UnsupportedOperationException("stub");
    }
}
