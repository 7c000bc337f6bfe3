package android.widget;

public class Spinner extends android.widget.AbsSpinner {
    public Spinner(android.content.Context context) {
        super(context);
    }
}
