"""Worker processes: for native code that can abort, and for Pythons with other packages."""
