"""Processes of segexport's own: native code that can abort, and Pythons with other packages."""
