"""`segexport import`, `export`, `run` and `demo`: a model becomes exports."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from segexport.cli.command import Command, format_option
from segexport.cli.options import FILE, FORMS, LIMIT, LOG, ON, SPLIT, TargetName, chosen, import_options, importing
from segexport.cli.shown_report import finish

HEAD = click.option(
    "--head",
    type=click.Choice(["keep", "logits", "softmax", "argmax", "argmax_small"]),
    default="keep",
    show_default=True,
    help="Output of the network; argmax_small: the mask before the last upsampling.",
)


@click.command(
    cls=Command,
    examples=[
        "segexport run recipe.yaml",
        "segexport run recipe.yaml --without prune -o out/plain",
        "segexport run recipes/*.yaml -o out --on dask://HOST:8786",
    ],
    results=["report.schema:Report", "commands.documents:RecipeRunsDocument"],
)
@click.argument("recipes", metavar="RECIPE...", type=FILE, nargs=-1, required=True)
@click.option(
    "-o",
    "--output",
    type=FILE,
    help="Folder for exports and reports; of several recipes, each has a folder in it.  [default: out/<recipe>]",
)
@click.option("--without", metavar="STEP", multiple=True, help="Skip this step of the recipe. Repeatable.")
@click.option(
    "--baseline", type=FILE, help="Fail if a result is worse than in this report.json, instead of the recipe's."
)
@ON
@LOG
@format_option(*FORMS)
@click.pass_obj
def run(console: Any, recipes: tuple[Path, ...], output: Path | None, form: str, **options: Any) -> None:
    """Run RECIPE: compress, export and check a model.

    Several recipes run side by side, in worker processes on this machine unless --on says where.
    """
    from segexport.commands.run import places_of, run

    say, (recipe, *more) = console(), recipes
    if more:
        _run_many(say, recipes, output or Path("out"), form, options)
    folder = output or Path("out") / recipe.stem
    result = run(recipe, folder, **options, feedback=say)
    finish(say, result, folder, form, places=lambda: places_of(recipe, folder, result))


def _run_many(say: Any, recipes: tuple[Path, ...], output: Path, form: str, options: dict[str, Any]) -> None:
    from segexport.commands.documents import RecipeRunDocument, RecipeRunsDocument
    from segexport.commands.run_many import run_many, verdict_of
    from segexport.ui.text_table import table
    from segexport.verdict import exit_code

    if form not in ("table", "json"):
        raise click.UsageError(
            f"--format {form} takes one recipe; the folder of each has report.md, .html and junit.xml"
        )
    if options["baseline"] is not None or options["log"]:
        raise click.UsageError("--baseline and --log take one recipe")
    runs = run_many(recipes, output, without=options["without"], on=options["on"], feedback=say)
    verdict = verdict_of(runs)
    if form == "json":
        rows = (
            RecipeRunDocument(
                recipe=str(one.recipe), output=str(one.output), verdict=one.verdict, error=str(one.error or "")
            )
            for one in runs
        )
        say.result(RecipeRunsDocument(verdict=verdict, recipes=tuple(rows)))
    else:
        body = [
            (one.recipe.stem, one.verdict.value, *_worst(one.report, one.error), str(one.output / "report.html"))
            for one in runs
        ]
        head, width = ("recipe", "verdict", "exports", "report"), say.stdout_width
        say.data(table(head, body, title=f"{len(runs)} recipes: {verdict.value}", color=say.stdout_color, width=width))
    sys.exit(exit_code(verdict))


def _worst(report: Any, error: Any) -> tuple[str]:
    """The exports that did not pass, or why there are none."""
    if report is None:
        return (error.what,)
    bad = [f"{export.name} {export.outcome}" for export in report.exports if export.verdict.value != "PASS"]
    return (", ".join(bad) or f"all {len(report.exports)} passed",)


@click.command(
    "import",
    cls=Command,
    examples=[
        "segexport import inference_model/ -o out/model",
        "segexport import inference_model/ --input-size 512x512 --labels labels.txt -o out/model",
        "segexport import best_model/model.pdparams --config pp_liteseg.yml -o out/model",
    ],
    results=["commands.documents:ArtifactDocument"],
)
@click.argument("model", type=FILE)
@HEAD
@importing
@click.option("-o", "--output", type=FILE, required=True, help="Folder of the new artifact.")
@click.pass_obj
def import_(console: Any, model: Path, output: Path, head: Any, **options: Any) -> None:
    """Import a PaddleSeg or PaddleX export, or a PaddleSeg checkpoint with its --config.

    The result is a self-describing artifact: a folder with the model and a manifest.
    """
    from segexport.commands.documents import ArtifactDocument
    from segexport.commands.import_ import import_to

    say, artifact = console(), import_to(model, output, import_options(options), head)
    say.warn_of(artifact)
    say.say(f"{output}: {artifact.manifest.name}, {artifact.manifest.num_classes} classes")
    say.result(ArtifactDocument.of(artifact, output))


@click.command(
    cls=Command,
    examples=[
        "segexport export inference_model/ --to onnx -o out/onnx-fp32",
        "segexport export inference_model/ --to onnx --precision int8 --calibration data/ -o out/onnx-int8",
        "segexport export inference_model/ --for android --data photos/ -o out/android",
    ],
    results=["commands.documents:ArtifactDocument", "commands.recommend:Recommendation"],
)
@click.argument("model", type=FILE)
@click.option("--to", "to", type=TargetName(), help="Export target.")
@click.option(
    "--for",
    "purpose",
    type=click.Choice(["android", "server"]),
    help="Make and check the exports that fit this purpose, and recommend one; replaces --to.",
)
@click.option("--data", type=FILE, help="For --for: a folder of photos, or a data folder with labels.")
@LIMIT
@SPLIT
@click.option("--device", default="cpu", help="For --for: device for the exports: cpu or adb[:SERIAL].  [default: cpu]")
@click.option(
    "--latency-seconds",
    type=click.FloatRange(0),
    default=10.0,
    show_default=True,
    help="For --for: time for the timed runs of all exports together.",
)
@click.option(
    "--precision",
    default="fp32",
    show_default=True,
    help="fp32, fp16, bf16, int8, w8, w4 or w4a8, if the target supports it.",
)
@HEAD
@click.option(
    "--mask-dtype",
    type=click.Choice(["int32", "uint8"]),
    default="int32",
    show_default=True,
    help="Data type of the mask.",
)
@click.option(
    "--calibration",
    type=FILE,
    help="Calibration images for int8: a data folder with train.txt, or a folder of images.",
)
@click.option(
    "--calibration-method",
    type=click.Choice(["minmax", "percentile", "mse", "entropy"]),
    default="mse",
    show_default=True,
    help="Choice of the int8 ranges.",
)
@click.option(
    "--calibration-images",
    type=click.IntRange(1),
    default=32,
    show_default=True,
    help="Number of calibration images.",
)
@click.option("--opset", type=int, help="ONNX opset.  [default: the newest supported]")
@click.option("--option", metavar="NAME=VALUE", multiple=True, help="Option of the target, as in a recipe. Repeatable.")
@importing
@click.option("-o", "--output", type=FILE, required=True, help="Folder of the export.")
@click.pass_obj
def export(console: Any, model: Path, output: Path, to: str | None, purpose: str | None, **options: Any) -> None:
    """Export MODEL to ONNX, Paddle-Lite or another installed target, or to what fits a purpose.

    With --for, exit code 1: no export passed.
    """
    from segexport.commands.documents import ArtifactDocument
    from segexport.commands.export import ExportOptions, export

    say = console()
    if (to is None) == (purpose is None):
        raise click.UsageError("give either --to TARGET, or --for PURPOSE --data DIR")
    if purpose is not None:
        _recommend(say, model, output, purpose, options)
        return
    if options["data"] is not None:
        raise click.UsageError("--data goes with --for; images for int8 are --calibration")
    options["to"] = to
    artifact = export(model, output, import_options(options), chosen(ExportOptions, options), feedback=say)
    say.say(f"{output}: {artifact.manifest.format}, {artifact.size_bytes:,} bytes")
    say.result(ArtifactDocument.of(artifact, output))


def _recommend(say: Any, model: Path, output: Path, purpose: str, options: dict[str, Any]) -> None:
    """`export --for`."""
    from segexport.commands.recommend import RecommendOptions, recommend
    from segexport.report import terminal

    unused = {
        "precision": "fp32",
        "head": "keep",
        "mask_dtype": "int32",
        "calibration": None,
        "opset": None,
        "option": (),
    }
    given = [f"--{name.replace('_', '-')}" for name, default in unused.items() if options[name] != default]
    if given:
        raise click.UsageError(f"{given[0]} goes with --to; --for chooses it")
    if options["data"] is None:
        raise click.UsageError("--for needs images: --data DIR")
    asked = chosen(RecommendOptions, {**options, "purpose": purpose})
    found = recommend(model, output, import_options(options), asked, feedback=say)
    if say.form == "json":
        say.result(found)
    else:
        say.data(terminal.render(found.report, width=say.stdout_width, color=say.stdout_color))
        say.data(found.why)
        for step in found.next_steps:
            say.data(f"next: {step}")
    say.say(f"report: {output / 'report.html'}")
    sys.exit(0 if found.recommended else 1)


@click.command(
    cls=Command, examples=["segexport demo", "segexport demo -o /tmp/demo"], results=["report.schema:Report"]
)
@click.option(
    "-o",
    "--output",
    type=FILE,
    default=Path("out/demo"),
    show_default=True,
    help="Folder for exports and reports.",
)
@format_option(*FORMS)
@click.pass_obj
def demo(console: Any, output: Path, form: str) -> None:
    """Quantize, export and check a small built-in model, offline."""
    from segexport.commands.run import DEMO_RECIPE, run

    say = console()
    finish(say, run(DEMO_RECIPE, output, feedback=say), output, form)
