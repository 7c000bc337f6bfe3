"""What is measured of an export: metrics, agreement, boundaries, latency, the operators that really ran."""
