package android.database;

public class MatrixCursor extends android.database.AbstractCursor {
    public MatrixCursor(String[] columnNames) {
        throw new UnsupportedOperationException("stub");
    }

    public void addRow(Object[] columnValues) {
        throw new UnsupportedOperationException("stub");
    }
}
