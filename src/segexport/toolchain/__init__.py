"""Toolchains: native tools that need a certain Python and NumPy, each in a separate environment."""
