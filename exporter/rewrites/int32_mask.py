"""Converts int64 outputs to int32: apps read an int64 mask as float or int32, and many accelerators lack int64."""

from __future__ import annotations

from segexport.exporter.framework_proto import DTYPE_NAME
from segexport.exporter.program import Op, Program
from segexport.exporter.rewrites.base import EVERY

_CODE = {name: code for code, name in DTYPE_NAME.items()}


class Int32Mask:
    """Makes a final argmax write int32, and adds a cast after other int64 outputs."""

    name = "int32_mask"
    version = "1"
    targets = EVERY

    def applies(self, program: Program) -> bool:
        return any(program.dtype(name) == "int64" for name in program.fetch_names)

    def apply(self, program: Program) -> list[str]:
        notes = []
        for name in program.fetch_names:
            if program.dtype(name) != "int64":
                continue
            producer = program.producers()[name]
            if producer.type == "arg_max" and len(program.consumers()[name]) == 1:
                producer.set_attr("dtype", _CODE["int32"], "INT")
                program.vars[name].dtype = "int32"
            else:
                self._cast(program, producer, name)
            notes.append(f"output {name} is int32 instead of int64")
        return notes

    def _cast(self, program: Program, producer: Op, name: str) -> None:
        inner = program.add_var(f"{name}.int64", program.shape(name), "int64")
        for op in program.ops:
            if op.type != "fetch":
                op.rename(name, inner, inputs=True, outputs=True)
        cast = Op("cast", {"X": [inner]}, {"Out": [name]})
        cast.set_attr("in_dtype", _CODE["int64"], "INT")
        cast.set_attr("out_dtype", _CODE["int32"], "INT")
        program.vars[name].dtype = "int32"
        program.insert_after(producer, cast)
