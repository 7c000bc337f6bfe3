package android.text;

public class SpannableStringBuilder implements CharSequence, android.text.Spanned {
    public SpannableStringBuilder() {
        throw new UnsupportedOperationException("stub");
    }

    public android.text.SpannableStringBuilder append(CharSequence text) {
        throw new UnsupportedOperationException("stub");
    }

    public void setSpan(Object what, int start, int end, int flags) {
        throw new UnsupportedOperationException("stub");
    }

    public int length() {
        throw new UnsupportedOperationException("stub");
    }

    public char charAt(int where) {
        throw new UnsupportedOperationException("stub");
    }

    public CharSequence subSequence(int start, int end) {
        throw new UnsupportedOperationException("stub");
    }
}
