package android.view;

public class View {
    public View(android.content.Context context) {
    }

    public static final int VISIBLE = 0;

    public static final int INVISIBLE = 4;

    public interface OnClickListener {
        void onClick(android.view.View v);
    }

    public void setOnClickListener(android.view.View.OnClickListener l) {
        throw new UnsupportedOperationException("stub");
    }

    public void setVisibility(int visibility) {
        throw new UnsupportedOperationException("stub");
    }
}
