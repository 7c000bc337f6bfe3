"""Formats numbers for all forms of the report."""

from __future__ import annotations

NOTHING = "–"


def fraction(value: float | None) -> str:
    """`0.6365`"""
    return NOTHING if value is None else f"{value:.4f}"


def delta(value: float | None) -> str:
    """`-0.0003`; a value that rounds to zero has no sign."""
    if value is None:
        return NOTHING
    text = f"{value:+.4f}"
    return "0.0000" if float(text) == 0 else text


def interval(bounds: tuple[float, float] | None) -> str:
    """`-0.0010 to +0.0004`"""
    return "" if bounds is None else f"{delta(bounds[0])} to {delta(bounds[1])}"


def agreement(value: float | None) -> str:
    """`99.996 %`, rounded down: only identical masks give 100 %."""
    if value is None:
        return NOTHING
    return "100 %" if value == 1 else f"{int(value * 100_000) / 1000:.3f} %"


def milliseconds(value: float | None) -> str:
    """Three significant digits: `0.42`, `12.3`, `346`"""
    if value is None:
        return NOTHING
    return f"{value:.2f}" if value < 9.995 else f"{value:.1f}" if value < 99.95 else f"{value:.0f}"


def times(value: float | None) -> str:
    """`0.52x`"""
    return NOTHING if value is None else f"{value:.2f}x"


def size(value: int | None) -> str:
    """`843 B`, `28.5 kB`, `1.20 MB`, in powers of 1000"""
    if value is None:
        return NOTHING
    if value < 1000:
        return f"{value} B"
    amount, unit = (value / 1e3, "kB") if value < 999_500 else (value / 1e6, "MB")
    return f"{amount:.{2 if amount < 10 else 1 if amount < 100 else 0}f} {unit}"
