package android.text;

public interface Spanned extends CharSequence {
    public static final int SPAN_EXCLUSIVE_EXCLUSIVE = 33;
}
