"""The commands, one file per verb, for the command line and the Python API."""
