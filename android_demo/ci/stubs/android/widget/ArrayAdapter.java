package android.widget;

public class ArrayAdapter<T> extends android.widget.BaseAdapter {
    public ArrayAdapter(android.content.Context context, int resource, java.util.List<T> objects) {
        throw new UnsupportedOperationException("stub");
    }

    public void setDropDownViewResource(int resource) {
        throw new UnsupportedOperationException("stub");
    }
}
