"""Norms, and what weights are divided by in networks that normalize them."""

from __future__ import annotations

import numpy as np

from segexport.exporter.evaluate.rule import Inputs, Rule, only
from segexport.exporter.program import Op


def _p_norm(op: Op, inputs: Inputs) -> np.ndarray:
    x, order = only(inputs), op.attr("porder", 2.0)
    axis, keep = op.attr("axis", -1), bool(op.attr("keepdim"))
    if op.attr("asvector"):
        x, axis, keep = x.reshape(-1), 0, False
    return np.asarray(np.linalg.norm(x, order, axis, keepdims=keep)).astype(x.dtype)


def _frobenius_norm(op: Op, inputs: Inputs) -> np.ndarray:
    x = only(inputs)
    axes = None if op.attr("reduce_all") else tuple(op.attr("dim"))
    return np.sqrt((x * x).sum(axes, keepdims=bool(op.attr("keep_dim")))).astype(x.dtype)


def _spectral_norm(op: Op, inputs: Inputs) -> np.ndarray:
    """Miyato et al., Spectral Normalization for GANs, ICLR 2018, section 2.1 and appendix A, as Paddle does it."""
    weight, eps = only(inputs, "Weight"), op.attr("eps", 1e-12)
    matrix = np.moveaxis(weight, op.attr("dim", 0), 0).reshape(weight.shape[op.attr("dim", 0)], -1)
    u, v = only(inputs, "U").reshape(-1), only(inputs, "V").reshape(-1)
    for _ in range(op.attr("power_iters", 1)):
        v = matrix.T @ u
        v = v / (np.linalg.norm(v) + eps)
        u = matrix @ v
        u = u / (np.linalg.norm(u) + eps)
    return (weight / (u @ (matrix @ v))).astype(weight.dtype)


RULES: dict[str, Rule] = {
    "p_norm": _p_norm,
    "frobenius_norm": _frobenius_norm,
    "spectral_norm": _spectral_norm,
    "mv": lambda _op, inputs: only(inputs) @ only(inputs, "Vec"),
    "dot": lambda _op, inputs: np.asarray((only(inputs) * only(inputs, "Y")).sum(-1)),
}
