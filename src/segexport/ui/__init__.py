"""The user interface: terminal output, tables, plots, pages and pictures of masks."""
