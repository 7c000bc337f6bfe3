"""Which output of a network with several heads the mask is made from.

The user names it (`--mask-output NAME`), or it is, in this order: the only output that could be; the only one with
classes; the only one that holds probabilities, since a softmax or sigmoid at the end marks scores, and what a network
gives besides (embeddings, offsets) has none; the only one with as many channels as there are class names. Everything
else needs the user's choice. The choice is recorded in the outputs' semantics: those that are not the mask become
"other", and the mask is the first output that is not.
"""

from __future__ import annotations

from collections.abc import Sequence

from segexport.artifact import warning
from segexport.errors import InputError
from segexport.exporter.output_semantics import recognise
from segexport.exporter.program import Program
from segexport.spec import TensorSpec

MASKS = ("class_index", "probability", "logits")
FIRST = ""  # in the place of a name: the first that could be, without asking


def choose_mask(
    program: Program, outputs: Sequence[TensorSpec], wanted: str | None, labels: int, source: str
) -> tuple[TensorSpec, ...]:
    """The outputs, of which at most one is a mask.

    Args:
        program: Whose outputs they are.
        outputs: With the semantics that the graph shows.
        wanted: The name of the output that the user chose, FIRST, or None for the rule above.
        labels: How many class names are known, 0 for none.
        source: The file, for messages.

    Raises:
        InputError: No such output, one that no mask can be made from, or no way to choose one.
    """
    possible = [spec for spec in outputs if spec.semantics in MASKS]
    if wanted:
        chosen = next((spec for spec in outputs if spec.name == wanted), None)
        if chosen is None or chosen not in possible:
            what = "no such output" if chosen is None else "no mask can be made from it"
            raise InputError(f"--mask-output {wanted}: {what}", cause=f"{source} has {listed(outputs)}", hint=_HINT)
    else:
        chosen = _by_rule(program, possible, labels)
        if chosen is None and possible:
            if wanted is None:
                raise InputError(
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
    """A warning if `choose_mask` had to choose among outputs that differ.

    Class indices beside the scores that they come from are one answer in two forms.
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
    """The name of the output that the mask is made from, empty where there is none."""
    return next((spec.name for spec in outputs if spec.semantics in MASKS), "")


def listed(outputs: Sequence[TensorSpec]) -> str:
    """Names with types and sizes, for people."""
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
