"""Whether a checkpoint is of the network that a configuration builds: every weight of both is accounted for.

To train from, other weights will do as well: `fitting` takes what fits.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from segexport.errors import InputError

Shape = tuple[int, ...]
_NAMED = 12  # of many names, in one message
_BACKBONE = "backbone."


def require_fit(
    path: Path, weights: Mapping[str, np.ndarray], network: Mapping[str, tuple[str, Shape]], config: Path, classes: int
) -> None:
    """Compares the weights of a checkpoint with those that a network has.

    Args:
        path: Of the checkpoint, for messages.
        network: Type and shape of each weight, by its name.
        config: Of the network, for messages.
        classes: How many the network has; 0 where that is not known.

    Raises:
        InputError: Weights that are missing, left over, or of another shape or type. What it comes from is said where
            it can be told: another number of classes, another backbone, another width, another network.
    """
    missing = [name for name in network if name not in weights]
    left = [name for name in weights if name not in network]
    shapes = {
        name: (weights[name].shape, shape)
        for name, (_, shape) in network.items()
        if name in weights and weights[name].shape != shape
    }
    if missing or left:
        raise _other_names(path, config, missing, left, len(network))
    if shapes:
        raise _other_shapes(path, config, shapes, classes, len(network))
    types = {
        name: (str(weights[name].dtype), dtype) for name, (dtype, _) in network.items() if weights[name].dtype != dtype
    }
    if types:
        name, (have, want) = next(iter(types.items()))
        raise InputError(
            f"{path}: {len(types)} of {len(network)} weights are of another type, {name!r} is {have}",
            cause=f"the network computes with {want}: {_listed(list(types))}",
            hint=f'save them so: {{name: value.astype("{want}") for name, value in paddle.load(...).items()}}',
        )


def fitting(
    path: Path, weights: Mapping[str, np.ndarray], network: Mapping[str, tuple[str, Shape]]
) -> dict[str, np.ndarray]:
    """The weights that a network can begin with: of the same name, type and shape, or those of its backbone alone.

    Args:
        path: Of the checkpoint, for messages.
        network: Type and shape of each weight, by its name.

    Raises:
        InputError: Not one of them fits.
    """
    taken: dict[str, np.ndarray] = {}
    for name, (dtype, shape) in network.items():
        value = weights.get(name, weights.get(name.removeprefix(_BACKBONE)))
        if value is not None and (str(value.dtype), value.shape) == (dtype, shape):
            taken[name] = value
    if not taken:
        raise InputError(
            f"{path}: not one of its {len(weights)} weights fits the network",
            cause=f"it has {_listed(list(weights))}; the network has {_listed(list(network))}",
            hint="give weights of the same network, or of its backbone",
        )
    return taken


def _other_names(path: Path, config: Path, missing: list[str], left: list[str], count: int) -> InputError:
    parts = [f"{len(names)} {what}: {_listed(names)}" for what, names in (("missing", missing), ("left over", left))]
    cause = "; ".join(part for part, names in zip(parts, (missing, left), strict=True) if names)
    what = f"{path}: {len(missing)} weights are missing and {len(left)} are left over for the network of {config.name}"
    hint = "give the configuration that this checkpoint was trained with: --config FILE"
    prefix = next((name[: -len(missing[0])] for name in left if missing and name.endswith(f".{missing[0]}")), "")
    if prefix and all(f"{prefix}{name}" in left for name in missing):
        what = f"{path}: the names of the weights begin with {prefix!r}"
        hint = f'take it off: {{name.removeprefix("{prefix}"): value for name, value in paddle.load(...).items()}}'
    elif missing and left and all(name.startswith(_BACKBONE) for name in (*missing, *left)):
        what = f"{path}: of another backbone than {config.name} names"
    elif len(missing) == count:
        what = f"{path}: of another network than {config.name} names: not one of its {count} weights is there"
    return InputError(what, cause=cause, hint=hint)


def _other_shapes(
    path: Path, config: Path, shapes: dict[str, tuple[Shape, Shape]], classes: int, count: int
) -> InputError:
    lines = [f"{name} {list(have)}, the network takes {list(want)}" for name, (have, want) in shapes.items()]
    pairs = {pair for have, want in shapes.values() for pair in _differences(have, want)}
    if len(pairs) == 1:
        have, want = next(iter(pairs))
        extra = want - classes  # some networks have a class for nothing at all
        if extra in (0, 1):
            return InputError(
                f"{path}: of {have - extra} classes, {config.name} says {classes}",
                cause=_listed(lines),
                hint=f"set num_classes: {have - extra} in the configuration",
            )
    return InputError(
        f"{path}: {len(shapes)} of {count} weights have other shapes than in the network of {config.name}",
        cause=f"the same layers, of another width: {_listed(lines)}",
        hint="give the configuration that this checkpoint was trained with: --config FILE",
    )


def _differences(have: Shape, want: Shape) -> set[tuple[int, int]]:
    """Which sides differ; none that could be the classes where more than one does."""
    different = {(a, b) for a, b in zip(have, want, strict=False) if a != b}
    return different if len(have) == len(want) and len(different) == 1 else {(-1, -1), (-2, -2)}


def _listed(names: list[str]) -> str:
    return ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")
