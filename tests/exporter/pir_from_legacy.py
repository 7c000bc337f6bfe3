"""Legacy programs as Paddle 3 itself translates them, written as `.json`; run by an interpreter that has Paddle 3.

PADDLE3/bin/python tests/exporter/pir_from_legacy.py OUT GRAPH.pdmodel ...
"""

from __future__ import annotations

import sys
from pathlib import Path

from paddle import pir
from paddle.base import core

if __name__ == "__main__":
    for graph in map(Path, sys.argv[2:]):
        program = pir.translate_to_pir(core.ProgramDesc(graph.read_bytes()))
        core.serialize_pir_program(program, str(Path(sys.argv[1]) / f"{graph.stem}.json"), True, False, True)
