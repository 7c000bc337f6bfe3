"""Formats the rows of `paddleseg_collection.py` as the page in the documentation."""

from __future__ import annotations

INTRODUCTION = """# PaddleSeg's collection

Made by `python benchmarks/paddleseg_collection.py`; never edited by hand. Each row is a model of paddleseg 2.8's
registry, or behind a point a further form of one, built by PaddleSeg with seeded weights and exported as its
`export.py` does. An agreement is the part of the pixels whose class is plain Paddle's, on the worse of two images;
*nudged* is what plain Paddle agrees with itself on when its input is multiplied by 1 + 2e-7, a change of the last bit
(by 1 + 1e-6 and 1 - 1e-6 too, where an export differs by more).
*refused*: with the reason that `segexport export` gives; `segexport inspect` had said so before, unless the row says
**contradiction**. *too slow*: a tool did not answer within the limit. ENet of free sizes ended the import with
a TypeError before this measurement; the tensors that its unpooling takes its sizes from are now followed.
All figures: `benchmarks/results/paddleseg_collection.json`; the command goes on where it stopped.
"""


def markdown(forms: dict[str, dict[str, dict]]) -> str:
    """The whole page; `forms`: head and size -> model -> its row."""
    return INTRODUCTION + "".join(_section(form, rows) for form, rows in sorted(forms.items()))


def _section(form: str, rows: dict[str, dict]) -> str:
    targets = sorted({target for row in rows.values() for target in row.get("targets", {})})
    lines = [f"\n## {form}\n", _line(["model", "operators", *targets, "nudged"])]
    lines.append(f"|---|---:|{'---|' * len(targets)}---:|")
    left = [name for name, row in sorted(rows.items()) if "not run" in row]
    for name, row in sorted(rows.items(), key=lambda item: item[0].lower()):
        if name in left:
            continue
        if "targets" in row:
            cells = [_outcome(row["targets"].get(target)) for target in targets]
            lines.append(_line([name, str(row["operators"]), *cells, _percent(min(row["nudged"]))]))
        else:
            ((state, why),) = row.items()
            lines.append(_line([name, "", f"{state}: {_short(why)}", *[""] * len(targets)]))
    if left:
        lines.append(f"\nNot measured yet: {', '.join(left)}.")
    return "\n".join(lines) + "\n"


def _outcome(found: dict | None) -> str:
    if found is None:
        return "not run"
    said = _percent(min(found["agreement"])) if "agreement" in found else found["outcome"]
    if found["outcome"] == "wrong":
        said = f"**wrong**, {said}"
    if "reason" in found:
        said += f": {_short(found['reason'])}"
    return f"**contradiction**, {said}" if "contradiction" in found else said


def _percent(share: float) -> str:
    return f"{share:.3%}"


def _short(text: str) -> str:
    words = " ".join(text.replace("|", ",").replace("<", "").split())
    return words if len(words) <= 160 else f"{words[:157]}..."


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
