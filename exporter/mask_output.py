"""Chooses the output from which the mask is made, for networks with several heads.

The user names it (`--mask-output NAME`), or it is, in this order: the only candidate output; the only one with classes;
the only one with probabilities, because a final softmax or sigmoid marks scores, which other outputs (embeddings,
offsets) lack; the only one with as many channels as there are class names. Otherwise the user must choose. The choice
is recorded in the outputs' semantics: the other outputs become "other", and the mask is the first output that is not
"other".
"""

from __future__ import annotations

from collections.abc import Sequence

from segexport.artifact import warning
from segexport.errors import ModelSettingsError, OptionError
from segexport.exporter.output_semantics import recognise
from segexport.exporter.program import Program
from segexport.spec import TensorSpec

MASKS = ("class_index", "probability", "logits")
FIRST = ""  # instead of a name: the first candidate


def choose_mask(
    program: Program, outputs: Sequence[TensorSpec], wanted: str | None, labels: int, source: str
) -> tuple[TensorSpec, ...]:
    """Returns the outputs with at most one mask among them.

    Args:
        program: The program of the outputs.
        outputs: Outputs with the semantics from the graph.
        wanted: Name of the user's output, FIRST, or None for the rule above.
        labels: Number of known class names, 0 for none.
        source: The file, for messages.

    Raises:
        InputError: The output does not exist or cannot be a mask, or the rule cannot choose one.
    """
    possible = [spec for spec in outputs if spec.semantics in MASKS]
    if wanted:
        chosen = next((spec for spec in outputs if spec.name == wanted), None)
        if chosen is None or chosen not in possible:
            what = "no such output" if chosen is None else "no mask can be made from it"
            raise OptionError(f"--mask-output {wanted}: {what}", cause=f"{source} has {listed(outputs)}", hint=_HINT)
    else:
        chosen = _by_rule(program, possible, labels)
        if chosen is None and possible:
            if wanted is None:
                raise ModelSettingsError(
                    f"{source}: {len(possible)} outputs could be the mask",
                    cause=listed(possible),
                    hint="choose one: --mask-output NAME (model: mask_output in a recipe)",
                )
            chosen = possible[0]
    return tuple(
        spec if spec is chosen or spec.semantics not in MASKS else spec.model_copy(update={"semantics": "other"})
        for spec in outputs
    )


def choice_notes(program: Program, before: Sequence[TensorSpec], after: Sequence[TensorSpec]) -> list[str]:
    """Returns a warning if `choose_mask` chose among different outputs.

    Class indices and the scores that they come from count as one output in two forms.
    """
    possible = [spec for spec in before if spec.semantics in MASKS]
    mask = mask_of(after)
    counts = {recognise(program, spec.name).num_classes for spec in possible}
    indices = [spec for spec in possible if spec.semantics == "class_index"]
    if len(possible) < 2 or (len(counts) == 1 and len(indices) == 1):
        return []
    return [warning(f"{len(possible)} outputs could be the mask, {mask!r} is used; --mask-output NAME chooses another")]


_HINT = "name one of those that hold logits, probabilities or class indices"


def mask_of(outputs: Sequence[TensorSpec]) -> str:
    """Returns the name of the mask output; empty if there is none."""
    return next((spec.name for spec in outputs if spec.semantics in MASKS), "")


def listed(outputs: Sequence[TensorSpec]) -> str:
    """Formats output names with types and sizes for messages."""
    return ", ".join(f"{spec.name} ({spec.semantics}, {spec.dtype} {list(spec.shape)})" for spec in outputs)


def _by_rule(program: Program, possible: list[TensorSpec], labels: int) -> TensorSpec | None:
    rules = (
        lambda spec: True,
        lambda spec: spec.semantics == "class_index",
        lambda spec: spec.semantics == "probability",
        lambda spec: labels > 0 and recognise(program, spec.name).num_classes == labels,
    )
    for rule in rules:
        found = [spec for spec in possible if rule(spec)]
        if len(found) == 1:
            return found[0]
    return None
