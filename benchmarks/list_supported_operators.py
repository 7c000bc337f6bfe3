"""Writes exporter/supported_operators.py: the operators that each exporter reports as supported.

    python benchmarks/list_supported_operators.py

Reads them from the installed tools: paddle2onnx's registered converters, and the kernels that Paddle-Lite's Opt lists
for a place (an operator under `kUnk` is known there by name but has no kernel).
"""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
_OPT = "from paddlelite.lite import Opt; o = Opt(); o.set_valid_places({!r}); o.print_supported_ops()"
_ONNX = "from paddle2onnx.paddle2onnx_cpp2py_export import get_all_supported_operators as f; print(*f(), sep='\\n')"
_HEAD = '''"""The operators that each exporter supports. Written by `python benchmarks/list_supported_operators.py`."""

from __future__ import annotations

VERSIONS = {versions}

'''


def ask(code: str) -> list[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.splitlines()


def lite_operators(place: str) -> list[str]:
    lines = ask(_OPT.format(place))
    header = next(line for line in lines if "OP_name" in line)
    columns = {name: header.index(name) + len(name) for name in header.split() if name.startswith("k")}
    found = []
    for line in lines[lines.index(header) + 1 :]:
        words = line.split()
        if len(words) < 2 or set(words[1:]) != {"Y"}:
            continue
        marks = [
            index + 1
            for index, letter in enumerate(line)
            if letter == "Y" and index > line.index(words[0]) + len(words[0])
        ]
        kernels = {min(columns, key=lambda name: abs(columns[name] - mark)) for mark in marks}
        if kernels - {"kUnk"}:
            found.append(words[0])
    return sorted(found)


def table(name: str, operators: list[str]) -> str:
    lines, line = [f"{name} = frozenset(\n    {{"], "       "
    for operator in sorted(set(operators) | {"feed", "fetch"}):
        if len(line) + len(operator) + 4 > 118:
            lines.append(line)
            line = "       "
        line += f' "{operator}",'
    return "\n".join([*lines, line, "    }\n)  # fmt: skip\n"])


def main() -> None:
    versions = {name: importlib.metadata.version(name) for name in ("paddle2onnx", "paddlelite")}
    text = _HEAD.format(versions=str(versions).replace("'", '"'))
    tables = {"ONNX": ask(_ONNX), "LITE_ARM": lite_operators("arm"), "LITE_X86": lite_operators("x86")}
    text += "\n".join(table(name, operators) for name, operators in tables.items())
    (REPOSITORY / "exporter" / "supported_operators.py").write_text(text)
    print({name: len(operators) for name, operators in tables.items()})


if __name__ == "__main__":
    main()
