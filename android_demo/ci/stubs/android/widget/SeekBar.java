package android.widget;

public class SeekBar extends android.widget.AbsSeekBar {
    public SeekBar(android.content.Context context) {
        super(context);
    }

    public interface OnSeekBarChangeListener {
        void onProgressChanged(android.widget.SeekBar seekBar, int progress, boolean fromUser);

        void onStartTrackingTouch(android.widget.SeekBar seekBar);

        void onStopTrackingTouch(android.widget.SeekBar seekBar);
    }

    public void setOnSeekBarChangeListener(android.widget.SeekBar.OnSeekBarChangeListener l) {
        throw new UnsupportedOperationException("stub");
    }
}
