"""Writes docs/operators.md from the rewrites and the known faults of the exporters."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from segexport.exporter.rewrites import REWRITES
from segexport.exporter.rewrites.base import LITE_ARM, LITE_X86, ONNX, Rewrite, Target
from segexport.exporter.rewrites.unsupported_ops import KnownFaults, known_faults

HEAD = """\
# Operators that are rewritten or refused

Made by `python docs/make_operators.py` from `exporter/rewrites/`; never edited by hand. An export must compute what
Paddle computes, or not be written. `segexport inspect MODEL` says which of these a model meets; the lineage of an
export names the rewrites that it took.

## Is anything else silently wrong?

`benchmarks/operator_sweep.py` builds every operator that a converter accepts as a separate small program, with each
combination of its attributes (the pairs, where they are many), with fixed and with dynamic sizes, exports it with
segexport's own steps, and compares ONNX Runtime and Paddle-Lite's x86 twin with Paddle; here is
[the table](../benchmarks/results/operator_sweep.md). A new operator or attribute is a line in `benchmarks/operators/`.

```sh
python benchmarks/operator_sweep.py --only pool2d pad3d    # some operators: a minute
python benchmarks/operator_sweep.py --sample 600 --seed 7  # cells drawn at random, some of each operator
python benchmarks/operator_sweep.py --work DIR             # all; a run that was ended goes on where it stopped
SWEEP_SEED=7 python -m pytest -m slow tests/exporter/test_operator_sweep.py
```

After a change of a rewrite, only cells whose rewritten program changed are measured again. A cell is *equal*,
*refused* (no file, and the reason was said), *wrong* (a file that computes something else), *crashed* (a file on
which its runtime ends with an error), or *not run* (a file for ARM alone, where x86 lacks the operator).
"""
NAMES = {ONNX: "ONNX", LITE_ARM: "Paddle-Lite", LITE_X86: "Paddle-Lite (x86 twin)"}


def text() -> str:
    """The page."""
    lines = [HEAD, "## Rewritten", "", "| what | for | rewrites |", "|---|---|---|"]
    files: dict[str, list[Rewrite]] = {}
    for rewrite in REWRITES:
        if not isinstance(rewrite, KnownFaults):
            files.setdefault(type(rewrite).__module__, []).append(rewrite)
    for module, rewrites in files.items():
        targets = {target for rewrite in rewrites for target in rewrite.targets}
        names = ", ".join(f"`{name}`" for name in dict.fromkeys(rewrite.name for rewrite in rewrites))
        lines.append(f"| {_said(module)} | {_named(targets)} | {names} |")
    lines += ["", "## Refused in some form", "", "| operator | for | why |", "|---|---|---|"]
    reasons: dict[tuple[str, str], list[str]] = {}
    for operator, targets, cause in known_faults():
        reasons.setdefault((_named(targets), cause), []).append(operator)
    for (targets, cause), operators in sorted(reasons.items(), key=lambda item: item[1]):
        lines.append(f"| {', '.join(f'`{each}`' for each in dict.fromkeys(operators))} | {targets} | {cause} |")
    return "\n".join(lines) + "\n"


def _said(module: str) -> str:
    """What the file that holds a rewrite says first."""
    first = (sys.modules[module].__doc__ or "").strip().split("\n\n")[0]
    return " ".join(first.split()).replace("|", "\\|")


def _named(targets: Iterable[Target]) -> str:
    if set(targets) == {ONNX, LITE_ARM, LITE_X86}:
        return "all"
    names = [NAMES[target] for target in (ONNX, LITE_ARM, LITE_X86) if target in targets]
    return ", ".join(name for name in names if name != NAMES[LITE_X86] or NAMES[LITE_ARM] not in names)


if __name__ == "__main__":
    (Path(__file__).parent / "operators.md").write_text(text(), encoding="utf-8")
