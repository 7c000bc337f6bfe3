"""Commands that train: `finetune` and `train`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from segexport.cli.command import Command
from segexport.cli.model import Size
from segexport.cli.options import FILE, LOG, chosen, import_options, importing

_POSITIVE = click.FloatRange(0, min_open=True)
_FRACTION = click.FloatRange(0, 1, max_open=True)


class _Weights(click.ParamType):
    """`1,0.4`: numbers with commas."""

    name = "weights"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return tuple(float(part) for part in value.split(","))
        except ValueError:
            self.fail(f"{value!r} is not a list of numbers: 1,0.4", param, ctx)


_TRAINING = (
    click.option("--data", type=FILE, required=True, help="PaddleSeg data folder: train.txt, val.txt, labels.txt."),
    click.option("--split", default="train", show_default=True, help="Image list for training."),
    click.option(
        "--val-split", help="Image list for validation; none: no validation.  [default: val, if the list exists]"
    ),
    click.option("--num-epochs", type=click.IntRange(1), help="Training length, in passes over the images."),
    click.option("--steps", type=click.IntRange(1), help="Training length in batches, instead of --num-epochs."),
    click.option("--batch-size", type=click.IntRange(1), default=4, show_default=True, help="Images per batch."),
    click.option("--learning-rate", type=_POSITIVE, default=1e-3, show_default=True, help="Initial learning rate."),
    click.option(
        "--lr-decay",
        type=click.Choice(["poly", "cosine"]),
        default="poly",
        show_default=True,
        help="Schedule of the learning rate.",
    ),
    click.option(
        "--lr-decay-power", type=click.FloatRange(0), default=0.9, show_default=True, help="Exponent of poly."
    ),
    click.option(
        "--warmup-steps", type=click.IntRange(0), default=0, show_default=True, help="Length of the warmup, in batches."
    ),
    click.option(
        "--optimizer", type=click.Choice(["adamw", "momentum"]), default="adamw", show_default=True, help="Optimizer."
    ),
    click.option(
        "--momentum", type=_FRACTION, default=0.9, show_default=True, help="Momentum of --optimizer momentum."
    ),
    click.option("--weight-decay", type=click.FloatRange(0), default=1e-4, show_default=True, help="Weight decay."),
    click.option(
        "--loss",
        "losses",
        multiple=True,
        metavar="NAME[=WEIGHT]",
        help="cross_entropy, bce, dice, lovasz; with --teacher also kl, cwd, dist. Repeatable."
        "  [default: cross_entropy]",
    ),
    click.option(
        "--class-weight", metavar="dynamic|W,W,...", help="Weight of each class in the loss.  [default: equal]"
    ),
    click.option(
        "--multi-loss-weight",
        type=_Weights(),
        default="1",
        metavar="W,W,...",
        show_default=True,
        help="Weight of the losses at the output and at each auxiliary head.",
    ),
    click.option(
        "--augmentation", type=FILE, help="YAML file of albumentations.save.  [default: flip, scale, brightness]"
    ),
    click.option(
        "--ema", type=_FRACTION, default=0.0, show_default=True, help="Decay of the averaged weights; 0: no averaging."
    ),
    click.option(
        "--save-interval-epochs",
        type=click.IntRange(1),
        default=1,
        show_default=True,
        help="Interval of checkpoints and validation, in epochs.",
    ),
    click.option("--early-stop", is_flag=True, help="Stop when the validation mIoU stops improving."),
    click.option(
        "--early-stop-patience",
        type=click.IntRange(1),
        default=5,
        show_default=True,
        help="Number of validations without improvement before an early stop.",
    ),
    click.option(
        "--save-dir", type=FILE, help="Folder for checkpoint, logs and best weights.  [default: in the cache]"
    ),
    click.option("--resume-checkpoint", type=FILE, help="The --save-dir of the training to resume."),
    click.option("--log-dir", type=FILE, help="Folder for TensorBoard files.  [default: none]"),
    click.option(
        "--log-interval-steps",
        type=click.IntRange(1),
        default=10,
        show_default=True,
        help="Interval of entries in --log-dir, in batches.",
    ),
    LOG,
    click.option("--teacher", type=FILE, help="Paddle export with the same classes, for distillation."),
    click.option("--new-head", is_flag=True, help="Replace the head even if the number of classes is the same."),
    click.option(
        "--precision",
        type=click.Choice(["fp32", "fp16", "bf16"]),
        default="fp32",
        show_default=True,
        help="Precision of the training.",
    ),
    click.option("--device", default="cpu", show_default=True, help="Device for the training: cpu or gpu:N."),
    click.option(
        "--processes", type=click.IntRange(1, 64), default=1, show_default=True, help="Processes that share each batch."
    ),
    click.option(
        "--threads", type=click.IntRange(1, 256), default=1, show_default=True, help="CPU threads per process."
    ),
    click.option(
        "--timeout-s",
        type=_POSITIVE,
        default=3600.0,
        show_default=True,
        help="Time limit for 20 batches and a validation, in seconds.",
    ),
    click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of the training."),
)


def _training(command: Any) -> Any:
    """The options of commands that train."""
    for option in reversed(_TRAINING):
        command = option(command)
    return command


@click.command(
    cls=Command,
    examples=[
        "segexport finetune inference_model/ --data data/ --num-epochs 20 -o out/finetuned",
        "segexport finetune inference_model/ --data data/ --steps 500 --device gpu:0 -o out/finetuned",
    ],
    results=["commands.documents:ArtifactDocument"],
)
@click.argument("model", type=FILE)
@_training
@importing
@click.option("-o", "--output", type=FILE, required=True, help="Folder of the new artifact.")
@click.pass_obj
def finetune(console: Any, model: Path, output: Path, **options: Any) -> None:
    """Finetune MODEL, a Paddle export, on your own images.

    If the classes of the data differ from those of the model, the model gets a new head. The result is a Paddle export
    with the weights that scored best on the validation images. Run the same command again to resume an interrupted
    training.
    """
    from segexport.commands.finetune import FinetuneOptions, finetune

    say = console()
    artifact = finetune(model, output, import_options(options), chosen(FinetuneOptions, options), feedback=say)
    _told(say, artifact, output)


@click.command(
    cls=Command,
    examples=[
        "segexport train PPLiteSeg --backbone STDC1 --data data/ --image-size 512x256 --num-epochs 100 -o out/trained",
        "segexport train FastSCNN --multi-loss-weight 1,0.4 --data data/ --steps 5000 -o out/trained",
        "segexport train pp_liteseg.yml --data data/ --num-epochs 100 -o out/trained",
    ],
    results=["commands.documents:ArtifactDocument"],
)
@click.argument("network")
@click.option("--backbone", metavar="NAME", help="Backbone of NETWORK, by its name in PaddleSeg.")
@click.option(
    "--option",
    metavar="NAME=VALUE",
    multiple=True,
    help="Parameter of NETWORK, or backbone.NAME=VALUE of its backbone. Repeatable.",
)
@click.option("--image-size", type=Size(), metavar="WxH", help="Resize images to this size.  [default: as they are]")
@click.option("--num-classes", type=click.IntRange(2), help="Number of classes.  [default: the lines of labels.txt]")
@click.option(
    "--pretrained",
    metavar="FILE|URL",
    help="Checkpoint (.pdparams) to begin with: a local file, or URL#sha256=DIGEST.  [default: random weights]",
)
@click.option(
    "--sensitivities-file",
    type=FILE,
    help="Prune the network before the training, by these sensitivities of a trained one.  [default: no pruning]",
)
@click.option(
    "--eval-metric-loss",
    type=click.FloatRange(0, 1),
    default=0.05,
    show_default=True,
    help="With --sensitivities-file: fraction of the metric that the pruning of one layer may cost.",
)
@click.option(
    "--width",
    type=click.FloatRange(0, 1, min_open=True),
    default=1.0,
    show_default=True,
    help="Width multiplier: fraction of the channels of each layer that the network keeps.",
)
@click.option(
    "--head",
    type=click.Choice(["logits", "softmax", "argmax", "argmax_small"]),
    default="argmax",
    show_default=True,
    help="Output of the trained network.",
)
@click.option("--paddleseg", type=FILE, help="Checkout of PaddleSeg that has NETWORK.  [default: PaddleSeg 2.8]")
@_training
@click.option("--ignore-index", type=int, help="Label id to leave out.  [default: 255, or as the configuration says]")
@click.option("-o", "--output", type=FILE, required=True, help="Folder of the new artifact.")
@click.pass_obj
def train(console: Any, network: str, output: Path, **options: Any) -> None:
    """Train NETWORK, of PaddleSeg, on your own images.

    NETWORK is a name in PaddleSeg, such as PPLiteSeg, or a configuration file, of which the network and the transforms
    of validation are taken. The result has the weights that scored best on the validation images. Run the same command
    again to resume an interrupted training.
    """
    from segexport.commands.finetune import FinetuneOptions
    from segexport.commands.train import NetworkOptions, train

    size = options.pop("image_size")
    options["image_size"] = (size, size) if isinstance(size, int) else size
    say = console()
    asked = chosen(NetworkOptions, options), chosen(FinetuneOptions, options)
    _told(say, train(network, output, *asked, feedback=say), output)


def _told(say: Any, artifact: Any, output: Path) -> None:
    from segexport.commands.documents import ArtifactDocument

    training = next(entry for entry in artifact.manifest.lineage if entry.step == "finetune")
    for note in training.notes:
        say.say(note)
    say.say(f"{output}: {artifact.manifest.name}, {artifact.manifest.num_classes} classes")
    say.result(ArtifactDocument.of(artifact, output))
