"""Measurements of an export: metrics, agreement, boundaries, latency, and the operators that ran."""
