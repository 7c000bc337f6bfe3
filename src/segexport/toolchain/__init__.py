"""Toolchains: native tools that decide which Python and which NumPy they live with, each in an environment of its own."""
