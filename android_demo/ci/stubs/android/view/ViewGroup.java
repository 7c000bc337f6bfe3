package android.view;

public abstract class ViewGroup extends android.view.View {
    public ViewGroup(android.content.Context context) {
        super(context);
    }
}
