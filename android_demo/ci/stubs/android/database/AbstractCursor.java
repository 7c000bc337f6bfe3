package android.database;

public abstract class AbstractCursor implements android.database.Cursor {
    public AbstractCursor() {
        throw new UnsupportedOperationException("stub");
    }
}
