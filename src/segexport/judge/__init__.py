"""Decides verdicts from measurements: paired bootstrap and gates."""
