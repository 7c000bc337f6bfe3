"""The rows of `zoo_coverage.py` as the table in the documentation."""

from __future__ import annotations

import importlib.metadata

INTRODUCTION = """# Coverage

Made by `python benchmarks/zoo_coverage.py`; never edited by hand. Each row is a graph of a published architecture with
seeded random weights and calibrated BatchNorm statistics (`tests/exporter/zoo.py`), its input 1x3x512x512 unless the
graph says otherwise. The reference is Paddle, operator by operator, without fused passes. *ONNX* and *Lite x86*: pixels
with the same class (of detections: numbers that are the same, a box to 0.05 pixels). *Difference*: the largest one of
any output value, over the largest value. ARM files are compiled, not run. *Seconds*: rewrites, three conversions and
two runs.
Where random weights make one class win everywhere, the classes' means are taken off all logits first.
Random weights amplify rounding more than trained ones do. Rows below 99.99 % therefore say in *nudged* what Paddle
agrees with itself when its input is multiplied by 1 + 2e-7, a change of the last bit: the exports differ by as little.

"""
FOOT = "\nTools: {}.\n"


def markdown(rows: list[dict]) -> str:
    lines = [
        "| graph | operators | ONNX | difference | Lite x86 | difference | Lite arm64 | nudged | seconds | rewrites |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---|",
    ]
    for row in rows:
        cells = [row["graph"], str(row["operators"])]
        for target in ("onnx", "paddle-lite x86"):
            found = row[target]
            if "error" in found:
                cells += [found["error"].splitlines()[0].replace("|", "/"), ""]
            else:
                cells += [f"{found['agreement'] * 100:.4f} %", f"{found['relative']:.1e}"]
        arm = row["paddle-lite arm"]
        cells.append(f"{arm['size_bytes'] / 1e6:.1f} MB" if "size_bytes" in arm else arm["error"].splitlines()[0])
        cells.append(f"{row['nudged']['agreement'] * 100:.4f} %" if "nudged" in row else "")
        cells.append(f"{sum(row[target]['seconds'] for target in TARGETS):.0f}")
        names = {note.split()[0] for target in TARGETS for note in row[target].get("rewrites", [])}
        lines.append("| " + " | ".join([*cells, ", ".join(sorted(names))]) + " |")
    packages = ("paddlepaddle", "paddle2onnx", "onnxruntime", "paddlelite", "numpy")
    tools = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages)
    return INTRODUCTION + "\n".join(lines) + "\n" + FOOT.format(tools)
