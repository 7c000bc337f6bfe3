package android.widget;

public abstract class AdapterView<T extends android.widget.Adapter> extends android.view.ViewGroup {
    public AdapterView(android.content.Context context) {
        super(context);
    }

    public interface OnItemSelectedListener {
        void onItemSelected(android.widget.AdapterView<?> parent, android.view.View view, int position, long id);

        void onNothingSelected(android.widget.AdapterView<?> parent);
    }

    public void setOnItemSelectedListener(android.widget.AdapterView.OnItemSelectedListener listener) {
        throw new UnsupportedOperationException("stub");
    }

    public void setSelection(int position) {
        throw new UnsupportedOperationException("stub");
    }
}
