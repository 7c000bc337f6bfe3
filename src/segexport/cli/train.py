"""`segexport finetune`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from segexport.cli.options import FILE, chosen, import_options, importing

_POSITIVE = click.FloatRange(0, min_open=True)
_FRACTION = click.FloatRange(0, 1, max_open=True)


@click.command()
@click.argument("model", type=FILE)
@click.option("--data", type=FILE, required=True, help="PaddleSeg data folder: train.txt, val.txt, labels.txt.")
@click.option("--split", default="train", show_default=True, help="Images to train on.")
@click.option("--val-split", help="Images to measure the model on between epochs; none: not.  [default: val, if there]")
@click.option("--num-epochs", type=click.IntRange(1), help="How long: every image so many times.")
@click.option("--steps", type=click.IntRange(1), help="How long, in place of --num-epochs: batches.")
@click.option("--batch-size", type=click.IntRange(1), default=4, show_default=True)
@click.option("--learning-rate", type=_POSITIVE, default=1e-3, show_default=True)
@click.option("--lr-decay", type=click.Choice(["poly", "cosine"]), default="poly", show_default=True)
@click.option("--lr-decay-power", type=click.FloatRange(0), default=0.9, show_default=True, help="Of poly.")
@click.option("--warmup-steps", type=click.IntRange(0), default=0, show_default=True)
@click.option("--optimizer", type=click.Choice(["adamw", "momentum"]), default="adamw", show_default=True)
@click.option("--momentum", type=_FRACTION, default=0.9, show_default=True)
@click.option("--weight-decay", type=click.FloatRange(0), default=1e-4, show_default=True)
@click.option(
    "--loss",
    "losses",
    multiple=True,
    metavar="NAME[=WEIGHT]",
    help="cross_entropy, bce, dice, lovasz; with --teacher also kl, cwd, dist. May be repeated.  "
    "[default: cross_entropy]",
)
@click.option("--class-weight", metavar="dynamic|W,W,...", help="What a pixel of each class counts.")
@click.option("--augmentation", type=FILE, help="YAML of albumentations.save: more than mirror, zoom and brightness.")
@click.option("--ema", type=_FRACTION, default=0.0, show_default=True, help="Decay of averaged weights; 0: none.")
@click.option("--save-interval-epochs", type=click.IntRange(1), default=1, show_default=True, help="Measure so often.")
@click.option("--early-stop", is_flag=True, help="Stop when the mIoU gets no better.")
@click.option("--early-stop-patience", type=click.IntRange(1), default=5, show_default=True)
@click.option("--save-dir", type=FILE, help="Keeps checkpoint, logs and best weights.  [default: in the cache]")
@click.option("--resume-checkpoint", type=FILE, help="The --save-dir of a training to go on with.")
@click.option("--log-dir", type=FILE, help="Write TensorBoard's files here.")
@click.option("--log-interval-steps", type=click.IntRange(1), default=10, show_default=True, help="Of --log-dir.")
@click.option("--teacher", type=FILE, help="A Paddle export with the same classes to learn from.")
@click.option("--new-head", is_flag=True, help="A new head even if the number of classes stays.")
@click.option("--precision", type=click.Choice(["fp32", "fp16", "bf16"]), default="fp32", show_default=True)
@click.option("--device", default="cpu", show_default=True, help="cpu, or gpu:N.")
@click.option("--processes", type=click.IntRange(1, 64), default=1, show_default=True, help="They share each batch.")
@click.option("--threads", type=click.IntRange(1, 256), default=1, show_default=True, help="Of each process.")
@click.option("--timeout-s", type=_POSITIVE, default=3600.0, show_default=True, help="For 20 steps and a measurement.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@importing
@click.option("-o", "--output", type=FILE, required=True, help="Folder of the new artifact.")
@click.pass_obj
def finetune(console: Any, model: Path, output: Path, **options: Any) -> None:
    """Train MODEL, a Paddle export, further on your own images.

    Other classes than the model's get a new head. The best weights on the validation images are kept. The same command
    goes on where it was killed, and does nothing where it was done. What comes out is a Paddle export like MODEL.
    """
    from segexport.commands.finetune import FinetuneOptions, finetune

    say = console()
    artifact = finetune(model, output, import_options(options), chosen(FinetuneOptions, options), feedback=say)
    for note in artifact.manifest.lineage[-1].notes:
        say.say(note)
    say.say(f"{output}: {artifact.manifest.name}, {artifact.manifest.num_classes} classes")
