"""Formats the rows of `paddleseg_collection.py` as the page in the documentation."""

from __future__ import annotations

INTRODUCTION = """# PaddleSeg's collection

Made by `python benchmarks/paddleseg_collection.py`; never edited by hand. Each row is a model of paddleseg 2.8's
registry, or behind a point a further form of one, built by PaddleSeg with seeded weights and exported as its
`export.py` does. An agreement is the part of the pixels whose class is plain Paddle's, on the worse of two images;
*nudged* is what plain Paddle agrees with itself on when its input is multiplied by 1 + 2e-7, a change of the last bit
(by 1 + 1e-6 and 1 - 1e-6 too, where an export differs by more).
*refused*: with the number of the reason that `segexport export` gives, below the table; `segexport inspect` had said so
before, unless the cell says **contradiction**. *too slow*: a tool did not answer within the limit. *fault*: segexport
itself failed. `-`: not measured yet.
All figures: `benchmarks/results/paddleseg_collection.json`; the command goes on where it stopped.
"""


OUTCOMES = ("right", "wrong", "refused", "too slow", "not run", "fault")


def markdown(forms: dict[str, dict[str, dict]]) -> str:
    """The whole page; `forms`: head and size -> model -> its row."""
    return INTRODUCTION + _summary(forms) + "".join(_section(form, rows) for form, rows in sorted(forms.items()))


def _summary(forms: dict[str, dict[str, dict]]) -> str:
    """How many models have which outcome, by form and target."""
    lines = [_line(["form", "target", *OUTCOMES, "contradictions", "models that cannot be built", "not measured yet"])]
    lines.append(f"|---|---|{'---:|' * (len(OUTCOMES) + 3)}")
    for form, rows in sorted(forms.items()):
        unbuilt = sum("targets" not in row and "not run" not in row for row in rows.values())
        for target in _targets(rows):
            found = [row["targets"][target] for row in rows.values() if target in row.get("targets", {})]
            counts = [sum(one["outcome"] == outcome for one in found) for outcome in OUTCOMES]
            counts += [sum("contradiction" in one for one in found), unbuilt, len(rows) - unbuilt - len(found)]
            lines.append(_line([form, target, *(str(count or "") for count in counts)]))
    return "\n" + "\n".join(lines) + "\n"


def _section(form: str, rows: dict[str, dict]) -> str:
    targets, reasons = _targets(rows), list[str]()
    lines = [f"\n## {form}\n", _line(["model", "operators", *targets, "nudged"])]
    lines.append(f"|---|---:|{'---|' * len(targets)}---:|")
    left = [name for name, row in sorted(rows.items()) if "not run" in row]
    for name, row in sorted(rows.items(), key=lambda item: item[0].lower()):
        if name in left:
            continue
        if "targets" in row:
            cells = [_outcome(row["targets"].get(target), reasons) for target in targets]
            lines.append(_line([name, str(row["operators"]), *cells, _percent(min(row["nudged"]))]))
        else:
            ((state, why),) = row.items()
            lines.append(_line([name, "", _with_reason(state, why, reasons), *[""] * len(targets)]))
    if reasons:
        lines += ["", *(f"{number}. {reason}" for number, reason in enumerate(reasons, 1))]
    if left:
        lines.append(f"\nNot measured yet: {', '.join(left)}.")
    return "\n".join(lines) + "\n"


def _targets(rows: dict[str, dict]) -> list[str]:
    return sorted({target for row in rows.values() for target in row.get("targets", {})})


def _outcome(found: dict | None, reasons: list[str]) -> str:
    if found is None:
        return "-"
    said = _percent(min(found["agreement"])) if "agreement" in found else found["outcome"]
    if found["outcome"] == "wrong":
        said = f"**wrong**, {said}"
    if "reason" in found:
        said = _with_reason(said, found["reason"], reasons)
    return f"**contradiction**, {said}" if "contradiction" in found else said


def _with_reason(said: str, why: str, reasons: list[str]) -> str:
    """The outcome with the number of its reason, which is added to `reasons` unless it is there."""
    text = _short(why)
    if text not in reasons:
        reasons.append(text)
    return f"{said} ({reasons.index(text) + 1})"


def _percent(share: float) -> str:
    return f"{share:.3%}"


def _short(text: str) -> str:
    words = " ".join(text.replace("<", "").split())
    return words if len(words) <= 240 else f"{words[:237]}..."


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
