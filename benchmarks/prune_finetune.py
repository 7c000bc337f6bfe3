"""Prunes an export to a fraction of its cost and fine-tunes it with the export as teacher; `segexport check` judges.

    python benchmarks/prune_finetune.py MODEL --data DIR -o OUT [--keep-macs 0.46] [--steps 1000] [--no-labels]
    segexport check OUT/tuned --reference MODEL --data DIR --split val -o OUT/check

Writes OUT/pruned, OUT/tuned (artifacts) and OUT/figures.json: costs, and wall and processor time of each part.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from contextlib import contextmanager
from pathlib import Path

from stamped import save

from segexport.artifact import ModelArtifact, read_artifact, write_artifact
from segexport.compress.batches import Augmentation
from segexport.compress.finetune import Finetune
from segexport.compress.prune_step import Prune
from segexport.compress.training_options import Losses
from segexport.data.dataset import Dataset
from segexport.exporter.from_paddle import ImportOptions, import_model
from segexport.files.store import Store
from segexport.pipeline.step import Step, StepContext


@contextmanager
def told(title: str, total: int | None = None):
    """Prints one line per part of the work."""
    started = time.monotonic()

    class Bar:
        done = 0

        def advance(self, count: int = 1) -> None:
            self.done += count
            print(f"{title}: {self.done}/{total}, {time.monotonic() - started:.0f} s", flush=True)

    yield Bar()


def take(step: Step, source: ModelArtifact, folder: Path, context: StepContext) -> ModelArtifact:
    folder.mkdir(parents=True)
    write_artifact(folder, step.run(source, folder, context))
    return read_artifact(folder)


def processor_s() -> float:
    """Processor time of this process and of the workers that have ended."""
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return sum(used.ru_utime + used.ru_stime for used in map(resource.getrusage, kinds))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--input-size", help="WIDTHxHEIGHT, for a model of dynamic size")
    parser.add_argument("--keep-macs", type=float, default=0.46)
    parser.add_argument("--criterion", default="fisher")
    parser.add_argument("--widths", default="uniform")
    parser.add_argument("--stages", type=int, default=1)
    parser.add_argument("--images", type=int, default=48, help="that pruning looks at")
    parser.add_argument("--no-reconstruction", action="store_true")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--learning-rate", type=float, default=1.5e-3)
    parser.add_argument("--labels-weight", type=float, default=0.25)
    parser.add_argument(
        "--views", type=int, default=3, help="of each image, so that the teacher's answers are kept; 0: all new"
    )
    parser.add_argument("--no-labels", action="store_true", help="learn from the teacher alone")
    parser.add_argument("--kl", type=float, default=1.0)
    parser.add_argument("--ema", type=float, default=0.99)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()

    data = Dataset.open(options.data, "train")
    chosen = ImportOptions.from_strings(input_size=options.input_size).model_copy(
        update={"fallback_labels": data.labels}
    )
    source = import_model(options.model, chosen, Store(options.output / "cache"))
    context = StepContext(key="", data=data, seed=options.seed, threads=options.threads, progress=told)
    started = time.monotonic()
    params = Prune.Params(
        keep_macs=options.keep_macs,
        criterion=options.criterion,
        widths=options.widths,
        stages=options.stages,
        images=options.images,
        reconstruct=not options.no_reconstruction,
    )
    pruned = take(Prune(params), source, options.output / "pruned", context)
    pruned_s, pruned_cpu_s = time.monotonic() - started, processor_s()
    print("\n".join(pruned.manifest.lineage[-1].notes), flush=True)
    params = Finetune.Params(
        steps=options.steps,
        batch_size=options.batch,
        teacher=str(source.path),
        learning_rate=options.learning_rate,
        lr_decay="cosine",
        warmup_steps=20,
        ema=options.ema,
        losses=Losses(cross_entropy=0.0 if options.no_labels else options.labels_weight, kl=options.kl),
        losses_before_enlarging=True,
        augmentation=Augmentation(views=options.views),
    )
    key = f"benchmark-{options.output.name}-{options.seed}-{options.steps}"
    tuned = take(Finetune(params), pruned, options.output / "tuned", StepContext(**{**vars(context), "key": key}))
    figures = {
        "notes": pruned.manifest.lineage[-1].notes,
        "size_bytes": [artifact.size_bytes for artifact in (source, pruned, tuned)],
        "prune_seconds": round(pruned_s, 2),
        "prune_processor_seconds": round(pruned_cpu_s, 2),
        "finetune_seconds": round(time.monotonic() - started - pruned_s),
        "finetune_processor_seconds": round(processor_s() - pruned_cpu_s),
        "peak_rss_bytes": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024,
    }
    save(options.output / "figures.json", figures)
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
