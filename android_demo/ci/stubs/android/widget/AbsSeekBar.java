package android.widget;

public abstract class AbsSeekBar extends android.widget.ProgressBar {
    public AbsSeekBar(android.content.Context context) {
        super(context);
    }
}
