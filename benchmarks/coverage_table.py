"""Formats the rows of `zoo_coverage.py` as the page in the documentation."""

from __future__ import annotations

import importlib.metadata
import re

INTRODUCTION = """# Coverage

Made by `python benchmarks/zoo_coverage.py`; never edited by hand. Each row is a published architecture with seeded
random weights and calibrated BatchNorm statistics (`tests/exporter/zoo.py`), with input 1x3x512x512 unless the graph
says otherwise. The reference is Paddle, operator by operator, without fused passes. Columns:

- *ONNX*, *Lite x86*: pixels with the same class (for detections: equal numbers, with 0.05 pixels tolerance for boxes;
  for two heads: the worse one).
- *difference*: largest difference of any output value, relative to the largest value.
- *Lite arm64*: size of the compiled file; ARM files are compiled, not run.
- *seconds*: time of the rewrites, three conversions and two runs.
- *ONNX, dynamic size*: one ONNX file with dynamic height and width, at two other sizes (384x640 and 448x320; for a side
  of 224: 160x288 and 192x128), compared with Paddle at these sizes; the worse of both. The graphs were exported with a
  fixed size; `benchmarks/free_size.py` removes it, and the resulting graph must equal the original in Paddle to 1e-6,
  else the row is an error. *fixed* names the operator that contains the size: export it with `--input-size`.
  A row below 99.99 % here also has a *nudged* value below it.
- *int8 products*: convolutions and matrix products that run in int8 according to ONNX Runtime's profile, out of all,
  after static quantization with three noise images.
- *int8*: pixels with the same class as in Paddle. Random weights do not show the int8 accuracy of a trained network.
- *8-bit weights*: Paddle's agreement with itself in float when only the weights of convolutions and matrix products are
  rounded to 8 bits per channel. Empty if not measured.
- *PIR*: the network in Paddle 3's format, translated, with the same weights: pixels with the same class as the legacy
  export. Empty if there is no such file.
- *nudged*: Paddle's agreement with itself when the input is multiplied by 1 + 2e-7, a change of the last bit. Given for
  rows below 99.99 %, because random weights amplify rounding more than trained ones: the exports differ by as little.

[Operators](operators.md) lists the rewritten and refused operators and how to test single ones. If random weights make
one class win everywhere, the class means are subtracted from all logits first. `gcnet`, `icnet`, `lanenet` and
`spatial_embedding` are from `tests/exporter/networks.py`, with small widths; the last two have two heads. `gcnet_r50`
and `segformer_b5` are from `tests/exporter/networks_full.py`, with full width and depth. *not run*: not measured yet.
All figures are in `benchmarks/results/zoo_coverage.json`; the command merges new ones into it.

"""
FOOT = "\nTools: {}.\n"
COLUMNS = (
    ("graph", "---"), ("operators", "---:"), ("ONNX", "---:"), ("difference", "---:"), ("ONNX, dynamic size", "---:"),
    ("int8 products", "---:"), ("int8", "---:"), ("8-bit weights", "---:"), ("Lite x86", "---:"),
    ("difference", "---:"), ("Lite arm64", "---:"), ("PIR", "---:"), ("nudged", "---:"),
    ("seconds", "---:"), ("rewrites", "---"),
)  # fmt: skip
TIMED = ("onnx", "paddle-lite x86", "paddle-lite arm")
PACKAGES = ("paddlepaddle", "paddle2onnx", "onnxruntime", "paddlelite", "numpy")
NOT_RUN = "not run"


RUNTIMES = """
## OpenVINO, MNN, ncnn and LiteRT

Made by `python benchmarks/runtime_zoo.py`: the same graphs, most at a small size, converted in fp32. *same*: the export
ran, and its outputs are the ONNX model's; *not compared*: it ran, and gives lists of objects. `segexport inspect` names
what fails before a conversion: here it named {foreseen} of {failed} failures, and something in {wrongly} of {converted}
exports that do work. Empty: not measured yet. All figures: `benchmarks/results/runtime_zoo.json`.

"""
OTHER = {"openvino": "OpenVINO", "mnn": "MNN", "ncnn": "ncnn", "litert": "LiteRT"}


def runtimes_table(found: dict) -> str:
    """The second table, of the results of `runtime_zoo.py`."""
    rows, total = found["rows"], found["summary"]["all"]
    lines = [_line(["graph", *OTHER.values()]), _line(["---"] * (1 + len(OTHER)))]
    for graph in dict.fromkeys(key.split()[0] for key in rows):
        lines.append(_line([graph, *(_converted(rows.get(f"{graph} {target}", {})) for target in OTHER)]))
    return RUNTIMES.format_map(total) + "\n".join(lines) + "\n"


def _converted(row: dict) -> str:
    if not row:
        return ""
    named = ", ".join(f"`{operator}`" for operator in row["foreseen"])
    if row["result"] == "converted":
        same = "not compared" if "not compared" in row.get("note", "") else "same"
        return same if not named else f"{same}, although `inspect` names {named}"
    return f"no: {named}" if named else "no, **not foreseen**"


def markdown(rows: list[dict], runtimes: dict) -> str:
    """The whole page; `runtimes`: the results of `runtime_zoo.py`."""
    lines = [_line([name for name, _ in COLUMNS]), f"|{'|'.join(rule for _, rule in COLUMNS)}|"]
    for row in rows:
        onnx, lite = row.get("onnx", {}), row.get("paddle-lite x86", {})
        names = {note.split()[0] for target in TIMED for note in row.get(target, {}).get("rewrites", [])}
        cells = [
            row["graph"],
            str(row["operators"]),
            _agreement(onnx),
            _difference(onnx),
            _agreement(row.get("onnx free", {})),
            _products(row.get("onnx int8", {})),
            _share(row.get("onnx int8", {})),
            _share(row["int8 weights"]) if "int8 weights" in row else "",
            _agreement(lite),
            _difference(lite),
            _size(row.get("paddle-lite arm", {})),
            _agreement(row["pir"]) if "pir" in row else "",
            _agreement(row["nudged"]) if "nudged" in row else "",
            _seconds([row.get(target, {}).get("seconds") for target in TIMED]),
            ", ".join(sorted(names)),
        ]
        lines.append(_line(cells))
    tools = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in PACKAGES)
    return INTRODUCTION + "\n".join(lines) + "\n" + runtimes_table(runtimes) + FOOT.format(tools)


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _failed(found: dict) -> str:
    """The reason why there is no figure; empty if there is one."""
    if not found:
        return NOT_RUN
    if "fixed" in found:
        return "fixed: " + re.sub(r"[(]operator (\d+)[)].*", r"\1", found["fixed"])
    return found["error"].splitlines()[0].replace("|", "/") if "error" in found else ""


def _agreement(found: dict) -> str:
    return _failed(found) or f"{found['agreement'] * 100:.4f} %"


def _seconds(parts: list[float | None]) -> str:
    return "" if None in parts else f"{sum(part for part in parts if part is not None):.0f}"


def _share(found: dict) -> str:
    return _failed(found) or f"{found['agreement'] * 100:.1f} %"


def _difference(found: dict) -> str:
    return "" if _failed(found) else f"{found['relative']:.1e}"


def _size(found: dict) -> str:
    return _failed(found) or f"{found['size_bytes'] / 1e6:.1f} MB"


def _products(found: dict) -> str:
    if _failed(found):
        return _failed(found)
    return f"{found['products'].get('int8', 0)} of {sum(found['products'].values())}"
