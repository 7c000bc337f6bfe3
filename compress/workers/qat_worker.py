"""Trains a program with the rounding of its int8 export. Commands: those of `finetune_worker`."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import finetune_worker as training

from segexport.compress.qat_program import QuantizedProgram
from segexport.exporter.quantization_ranges import Ranges


def begin(arguments, arrays):
    training.LIVE = partial(
        QuantizedProgram,
        ranges=Ranges.model_validate_json(arguments["ranges"]),
        weights=arguments["weights"],
        moving=arguments["moving"],
    )
    return training.begin(arguments, arrays)


def finish(arguments, arrays):
    """Writes the trained program and its ranges."""
    answer = training.finish(arguments, arrays)
    with training.trainer().kept_weights() as net:
        net.ranges().write(Path(arguments["out"]))
    return answer


COMMANDS = {**training.COMMANDS, "begin": begin, "finish": finish}
