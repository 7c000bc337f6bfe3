"""Compares the weights of a checkpoint with a network's: all of them have to match.

Training can also begin with other weights: `beginning` selects those that match.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from segexport.artifact import warning
from segexport.errors import InputError, MismatchError

Shape = tuple[int, ...]
_NAMED = 12  # names listed in one message
_BACKBONE = "backbone."


def require_fit(
    path: Path, weights: Mapping[str, np.ndarray], network: Mapping[str, tuple[str, Shape]], config: Path, classes: int
) -> None:
    """Requires that a checkpoint has exactly the weights of a network.

    Args:
        path: Path of the checkpoint, for messages.
        weights: Name -> array, from the checkpoint.
        network: Name -> (dtype, shape) of each weight of the network.
        config: Path of the network's configuration, for messages.
        classes: Number of classes of the network; 0 if unknown.

    Raises:
        InputError: Weights are missing, left over, or of another shape or type. The message names the cause if it is
            recognized: another number of classes, another backbone, another width, or another network.
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
        raise MismatchError(
            f"{path}: {len(types)} of {len(network)} weights are of another type, {name!r} is {have}",
            cause=f"the network computes with {want}: {_listed(list(types))}",
            hint=f'convert them: {{name: value.astype("{want}") for name, value in paddle.load(...).items()}}',
        )


@dataclass(frozen=True)
class Beginning:
    """The weights of a checkpoint with which the training of a network begins.

    Attributes:
        taken: Name in the network -> array.
        misfits: Weights of both, of another type or shape: name in the network -> (checkpoint's, network's).
        random: Names of the network that the checkpoint does not have.
        unused: Names of the checkpoint that the network does not have.
    """

    taken: dict[str, np.ndarray]
    misfits: dict[str, tuple[str, str]]
    random: tuple[str, ...]
    unused: tuple[str, ...]

    def notes(self, file: str) -> list[str]:
        """Says what was taken and what was left out; weights that do not fit are a warning."""
        count = len(self.taken) + len(self.misfits) + len(self.random)
        notes = [f"{len(self.taken)} of its {count} weights begin as in {file}"]
        if self.misfits:
            listed = _listed(
                [f"{name} is {have}, the network takes {want}" for name, (have, want) in self.misfits.items()]
            )
            notes.append(warning(f"{len(self.misfits)} weights of {file} were left out, they do not fit: {listed}"))
        if self.random:
            notes.append(
                f"{len(self.random)} weights begin at random, {file} does not have them: {_listed(self.random)}"
            )
        if self.unused:
            notes.append(f"{len(self.unused)} weights of {file} are not of this network: {_listed(self.unused)}")
        return notes


def beginning(path: Path, weights: Mapping[str, np.ndarray], network: Mapping[str, tuple[str, Shape]]) -> Beginning:
    """The weights from which a network can start training: those of equal name, type and shape.

    Names without the prefix `backbone.` match too, as in a checkpoint of the backbone alone.

    Args:
        path: Path of the checkpoint, for messages.
        weights: Name -> array, from the checkpoint.
        network: Name -> (dtype, shape) of each weight of the network.

    Raises:
        InputError: None of them matches.
    """
    names = {name: _own_name(name, weights) for name in network}
    taken: dict[str, np.ndarray] = {}
    misfits: dict[str, tuple[str, str]] = {}
    for name, (dtype, shape) in network.items():
        own = names[name]
        if own is None:
            continue
        value = weights[own]
        if (str(value.dtype), value.shape) == (dtype, shape):
            taken[name] = value
        else:
            misfits[name] = f"{value.dtype} {list(value.shape)}", f"{dtype} {list(shape)}"
    lines = [f"{name} is {have}, the network takes {want}" for name, (have, want) in misfits.items()]
    if not taken:
        raise MismatchError(
            f"{path}: none of its {len(weights)} weights fits the network",
            cause=_listed(lines) or f"it has {_listed(list(weights))}; the network has {_listed(list(network))}",
            hint="give weights of the same network, or of its backbone",
        )
    used = set(names.values())
    return Beginning(
        taken,
        misfits,
        random=tuple(name for name, own in names.items() if own is None),
        unused=tuple(name for name in weights if name not in used),
    )


def _own_name(name: str, weights: Mapping[str, np.ndarray]) -> str | None:
    """The checkpoint's name for a weight of the network."""
    return next((own for own in (name, name.removeprefix(_BACKBONE)) if own in weights), None)


def _other_names(path: Path, config: Path, missing: list[str], left: list[str], count: int) -> InputError:
    parts = [f"{len(names)} {what}: {_listed(names)}" for what, names in (("missing", missing), ("left over", left))]
    cause = "; ".join(part for part, names in zip(parts, (missing, left), strict=True) if names)
    what = f"{path}: {len(missing)} weights are missing and {len(left)} are left over for the network of {config.name}"
    hint = "give the configuration that this checkpoint was trained with: --config FILE"
    prefix = next((name[: -len(missing[0])] for name in left if missing and name.endswith(f".{missing[0]}")), "")
    if prefix and all(f"{prefix}{name}" in left for name in missing):
        what = f"{path}: the names of the weights begin with {prefix!r}"
        hint = f'remove it: {{name.removeprefix("{prefix}"): value for name, value in paddle.load(...).items()}}'
    elif missing and left and all(name.startswith(_BACKBONE) for name in (*missing, *left)):
        what = f"{path}: the checkpoint has another backbone than {config.name}"
    elif len(missing) == count:
        what = f"{path}: the checkpoint is of another network than {config.name}: it has none of its {count} weights"
    return MismatchError(what, cause=cause, hint=hint)


def _other_shapes(
    path: Path, config: Path, shapes: dict[str, tuple[Shape, Shape]], classes: int, count: int
) -> InputError:
    lines = [f"{name} {list(have)}, the network takes {list(want)}" for name, (have, want) in shapes.items()]
    pairs = {pair for have, want in shapes.values() for pair in _differences(have, want)}
    if len(pairs) == 1:
        have, want = next(iter(pairs))
        extra = want - classes  # some networks have one more output, for "no object"
        if extra in (0, 1):
            return MismatchError(
                f"{path}: the checkpoint has {have - extra} classes, {config.name} says {classes}",
                cause=_listed(lines),
                hint=f"set num_classes: {have - extra} in the configuration",
            )
    return MismatchError(
        f"{path}: {len(shapes)} of {count} weights have other shapes than in the network of {config.name}",
        cause=f"the layers are the same, their widths differ: {_listed(lines)}",
        hint="give the configuration that this checkpoint was trained with: --config FILE",
    )


def _differences(have: Shape, want: Shape) -> set[tuple[int, int]]:
    """The (checkpoint, network) sizes that differ; if several do, pairs that cannot be numbers of classes."""
    different = {(a, b) for a, b in zip(have, want, strict=False) if a != b}
    return different if len(have) == len(want) and len(different) == 1 else {(-1, -1), (-2, -2)}


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")
