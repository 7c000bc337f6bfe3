"""Measures the overlap of data loading and training: the fraction of time that training waits for batches.

    python benchmarks/finetune_speed.py MODEL DATA [--steps 40] [--batch 4] [-o benchmarks/results/finetune_speed.json]

Three measurements of the same steps: preparing the batches alone, training on batches that are ready, and both as
`segexport finetune` does it. With full overlap, the last takes as long as the longer of the first two.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
import zlib  # noqa: F401 - before paddle: its bundled copy makes PNG decoding fail in the same process
from pathlib import Path

from stamped import save

from segexport.compress.batches import Batches
from segexport.compress.training import Trainer
from segexport.compress.training_options import TrainingOptions
from segexport.data.dataset import Dataset
from segexport.exporter.from_paddle import ImportOptions, import_model
from segexport.exporter.program import read
from segexport.files.store import Store


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("-o", "--output", type=Path)
    arguments = parser.parse_args()
    steps, data = arguments.steps, Dataset.open(arguments.data, "train")
    model = import_model(arguments.model, ImportOptions(fallback_labels=data.labels), Store())
    program = read(model.file("model"), model.file("params"))
    batches = Batches(data, model.manifest.preprocess, arguments.batch, 0)
    options = TrainingOptions(steps=3 * steps + 2, learning_rate=1e-5, save_every=10**9)
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(program, None, options, Path(folder))
        trainer.advance((batches.at(step) for step in range(2)), 2)  # warm
        started = time.perf_counter()
        ready = [batches.at(step) for step in range(steps)]
        preparing = time.perf_counter() - started
        started = time.perf_counter()
        trainer.advance(iter(ready), steps + 2)
        training = time.perf_counter() - started
        trainer.waited_s = trainer.worked_s = 0.0
        trainer.advance(batches.following(steps), 2 * steps + 2)
    result = {
        "model": model.manifest.name,
        "batch": arguments.batch,
        "steps": steps,
        "preparing_ms_per_step": round(preparing / steps * 1e3, 1),
        "training_ms_per_step": round(training / steps * 1e3, 1),
        "together_ms_per_step": round(trainer.worked_s / steps * 1e3, 1),
        "waiting_share": round(trainer.waited_s / trainer.worked_s, 4),
        "load_average": [round(load, 2) for load in os.getloadavg()],
    }
    print(json.dumps(result, indent=2))
    if arguments.output:
        save(arguments.output, result)


if __name__ == "__main__":
    main()
