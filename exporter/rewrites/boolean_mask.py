"""Casts boolean outputs to int32: Paddle-Lite outputs booleans as bytes that its readers cannot interpret."""

from __future__ import annotations

from segexport.exporter.framework_proto import DTYPE_CODE
from segexport.exporter.program import Op, Program
from segexport.exporter.rewrites.base import LITE


class BooleanMask:
    """Adds a cast after each boolean output."""

    name = "boolean_mask"
    version = "1"
    targets = LITE

    def applies(self, program: Program) -> bool:
        return any(program.dtype(name) == "bool" for name in program.fetch_names)

    def apply(self, program: Program) -> list[str]:
        notes = []
        for fetch in [op for op in program.ops if op.type == "fetch"]:
            name = fetch.input("X") or ""
            if program.dtype(name) != "bool":
                continue
            number = program.add_var(f"{name}.int32", program.shape(name), "int32")
            cast = Op("cast", {"X": [name]}, {"Out": [number]})
            cast.set_attr("in_dtype", DTYPE_CODE["bool"])
            cast.set_attr("out_dtype", DTYPE_CODE["int32"])
            program.insert_before(fetch, cast)
            fetch.inputs["X"] = [number]
            notes.append(f"output {name} is int32 instead of bool")
        return notes
