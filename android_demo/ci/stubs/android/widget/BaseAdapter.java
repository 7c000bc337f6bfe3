package android.widget;

public abstract class BaseAdapter implements android.widget.SpinnerAdapter {
    public BaseAdapter() {
        throw new UnsupportedOperationException("stub");
    }
}
