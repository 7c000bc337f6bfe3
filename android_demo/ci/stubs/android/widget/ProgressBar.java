package android.widget;

public class ProgressBar extends android.view.View {
    public ProgressBar(android.content.Context context) {
        super(context);
    }

    public int getProgress() {
        throw new UnsupportedOperationException("stub");
    }

    public void setProgress(int progress) {
        throw new UnsupportedOperationException("stub");
    }
}
