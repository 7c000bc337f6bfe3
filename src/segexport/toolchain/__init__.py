"""Toolchains: native tools that dictate their Python and their NumPy, each in a separate environment."""
