"""Toolchains: native tools that dictate their Python and their NumPy, each in an environment of its own."""
