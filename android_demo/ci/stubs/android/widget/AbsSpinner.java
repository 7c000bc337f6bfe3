package android.widget;

public abstract class AbsSpinner extends android.widget.AdapterView<android.widget.SpinnerAdapter> {
    public AbsSpinner(android.content.Context context) {
        super(context);
    }

    public void setAdapter(android.widget.SpinnerAdapter adapter) {
        throw new UnsupportedOperationException("stub");
    }

    public void setSelection(int position) {
        throw new UnsupportedOperationException("stub");
    }
}
