"""What the worker that quantizes ONNX models is asked to do, for tests that call it directly."""

from __future__ import annotations

from typing import Any


def asked(**options: Any) -> dict[str, Any]:
    """The options of `begin` without files: these, and a plain int8 export for all others."""
    return {
        "method": "mse",
        "percentile": 99.9,
        "images": 4,
        "draws": 1,
        "rounding": "nearest",
        "weight_bits": 8,
        "ends": 8,
        "per_channel": True,
        "symmetric": False,
        "inputs_only": False,
        "equalize": False,
        "bias_correction": False,
        "fallback": True,
        "float_operators": [],
        "float_nodes": [],
        "ranges": {},
        "axes": {},
        **options,
    }
