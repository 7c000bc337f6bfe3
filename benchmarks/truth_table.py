"""Checks and times trained models x export targets x precisions, all in the same way.

    python benchmarks/truth_table.py MODELS CAMVID [--only MODEL]... [--to TARGET]... [--limit 24] [--shard I/N]
    python benchmarks/truth_table.py MODELS CAMVID --recipe mine.yaml
    python benchmarks/truth_table.py --page

The models are those of `real_models.py`, PP-HumanSeg-Lite (on CamVid's images without labels, so by agreement alone)
and the demo; a recipe adds its model and data. The targets are all that are installed, each with all its precisions. A
row that is in the results already is measured again with `--again` only; each row is saved once it is measured, and
several machines can each do a shard. `--page` writes docs/truth-table.md and docs/truth-table.html from the results.

Times are those of one thread, each export in turn with the fp32 ONNX export in ONNX Runtime, in several sessions.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import yaml
from real_models import recipes as trained
from stamped import REPOSITORY, RESULTS, load, save
from truth_pages import html, markdown

from segexport.artifact import read_artifact
from segexport.commands.bench import bench
from segexport.commands.diagnose import diagnose
from segexport.commands.run import run
from segexport.data.dataset import Dataset
from segexport.data.images import decode_image
from segexport.errors import SegexportError
from segexport.exporter import program
from segexport.importers.model_files import find_model
from segexport.pipeline.registry import targets
from segexport.report.schema import ExportResult
from segexport.ui.console import Console

RESULT = RESULTS / "truth_table.json"
PAGE = REPOSITORY / "docs" / "truth-table.md"
SORTABLE = REPOSITORY / "docs" / "truth-table.html"
DEMO = REPOSITORY / "src" / "segexport" / "demo"
BASE = {"to": "onnx", "precision": "fp32", "name": "onnx-fp32"}
SESSIONS = 5


def recipes(models: Path, camvid: Path, own: list[Path]) -> dict[str, dict[str, Any]]:
    """Name of a network -> its model and data, as in a recipe."""
    found = {name: {"model": one["model"], "data": one["data"]} for name, one in trained(models, camvid).items()}
    humans = {"path": str(models / "pphumanseg_lite/export_softmax")}
    found["pphumanseg_lite"] = {"model": humans, "data": {"path": str(camvid / "images")}}
    calibrated = {"path": str(DEMO / "data"), "split": "all"}
    found["demo"] = {"model": {"path": str(DEMO / "model")}, "data": calibrated}
    for path in own:
        given = yaml.safe_load(path.read_text(encoding="utf-8"))
        given = {"model": dict(given["model"]), "data": dict(given["data"])}
        for part in given.values():
            part["path"] = str((path.parent / part["path"]).resolve())
        found[path.stem] = given
    return found


def exports(wanted: list[str], precisions: list[str], more: list[dict]) -> Iterator[dict[str, Any]]:
    """Yields each export as in a recipe."""
    for name, target in targets().items():
        if wanted and name not in wanted:
            continue
        for precision in get_args(target.Recipe.model_fields["precision"].annotation):
            if precisions and precision.value not in precisions:
                continue
            yield {"to": name, "precision": precision.value}
    yield from more


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path, nargs="?")
    parser.add_argument("camvid", type=Path, nargs="?")
    parser.add_argument("--recipe", type=Path, action="append", default=[], help="a model and its data")
    parser.add_argument("--only", action="append", default=[], help="a model")
    parser.add_argument("--to", action="append", default=[], help="a target")
    parser.add_argument("--precision", action="append", default=[], help="a precision")
    parser.add_argument("--export", type=json.loads, action="append", default=[], help="a further one, as in a recipe")
    parser.add_argument("--limit", type=int, default=24, help="images of the check")
    parser.add_argument("--seconds", type=float, default=3.0, help="for each export in each session")
    parser.add_argument("--shard", default="1/1", help="I/N: the I-th of N parts of the rows")
    parser.add_argument("--again", action="store_true", help="measure existing rows again")
    parser.add_argument(
        "--merge", type=Path, action="append", default=[], help="a shard's file whose new rows are added"
    )
    parser.add_argument("--page", action="store_true", help="only write the page")
    parser.add_argument("-o", "--output", type=Path, default=RESULT)
    given = parser.parse_args()
    rows: dict[str, dict] = load(given.output) if given.output.is_file() else {}
    for file in given.merge:
        rows = {**load(file), **rows}
    if given.merge:
        save(given.output, dict(sorted(rows.items())))
    if not given.page:
        if given.models is None or given.camvid is None:
            parser.error("MODELS and CAMVID are missing")
        index, count = map(int, given.shard.split("/"))
        known = recipes(given.models.resolve(), given.camvid.resolve(), given.recipe)
        todo = [
            (model, export)
            for model in known
            if given.only in ([], [model]) or model in given.only
            for export in exports(given.to, given.precision, given.export)
        ]
        for place, (model, export) in enumerate(todo):
            key = f"{model} {_name(export)}"
            if place % count == index - 1 and (given.again or key not in rows):
                rows[key] = _row(known[model], export, given.limit, given.seconds)
                save(given.output, dict(sorted(rows.items())))
                print(key, rows[key]["verdict"], rows[key].get("why", ""), flush=True)
        save(given.output, dict(sorted(rows.items())))
    if given.output == RESULT:
        PAGE.write_text(markdown(load(RESULT)), encoding="utf-8")
        SORTABLE.write_text(html(load(RESULT)), encoding="utf-8")


def _name(export: dict[str, Any]) -> str:
    return export.get("name") or f"{export['to']}-{export['precision']}"


def _row(recipe: dict[str, Any], export: dict[str, Any], limit: int, seconds: float) -> dict[str, Any]:
    """The result of one export with the fp32 ONNX export: verdict, agreement, size, time."""
    name, wanted = _name(export), [BASE]
    if name != BASE["name"]:
        wanted.append({**export, "name": name})
    data = {**recipe["data"], "limit": limit}
    if not (Path(data["path"]) / "train.txt").is_file():  # a folder of images: all that there is to calibrate on
        data["calibration_split"] = data.get("split", "val")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        if targets()[export["to"]].one_size:
            recipe = {**recipe, "model": _sized(recipe["model"], data)}
        given = {"model": recipe["model"], "data": data, "exports": wanted}
        (folder / "recipe.yaml").write_text(
            yaml.safe_dump({**given, "check": {"latency_seconds": 0, "worst_images": 0}}), encoding="utf-8"
        )
        try:
            report = run(folder / "recipe.yaml", folder / "out", feedback=Console(quiet=True))
        except SegexportError as error:
            return {"verdict": "ERROR", "why": error.what}
        result = next(one for one in report.exports if one.name == name)
        row = _figures(result)
        if result.verdict.value == "ERROR":
            return row
        first, own = (folder / "out" / "exports" / one for one in (BASE["name"], name))
        row["size_ratio"] = read_artifact(own).size_bytes / read_artifact(first).size_bytes
        row |= _times(first, own, targets()[export["to"]].untimed, seconds)
        if result.verdict.value == "FAIL":
            row["culprit"] = _culprit(own, recipe, data)
        return row


def _sized(model: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
    """The model with the first image's size as its input size, if its size is dynamic."""
    files = find_model(Path(model["path"]))
    if files.kind == "artifact":
        shape = read_artifact(files.folder).manifest.image.shape
    else:
        shape = program.read(files.model, files.params).inputs()[0].shape
    if min(shape[2:]) > 0:
        return model
    height, width = decode_image(_first_image(data)).shape[:2]
    return {**model, "input_size": [width, height]}


def _first_image(data: dict[str, Any]) -> Path:
    root = Path(data["path"])
    return root / Dataset.open(root, data.get("split", "val")).entries[0].image


def _figures(result: ExportResult) -> dict[str, Any]:
    failed = [one.message for one in result.checks if one.gated and one.verdict.value != "PASS"]
    found = result.model_dump(mode="json")
    kept = ("verdict", "agreement", "agreement_worst", "miou", "miou_delta", "miou_delta_interval")
    row = {name: found[name] for name in (*kept, "size_bytes", "runtime", "provider") if found.get(name) is not None}
    return {**row, "why": failed[0]} if failed else row


def _times(first: Path, own: Path, untimed: str, seconds: float) -> dict[str, Any]:
    """The ratio of the undisturbed times, with its 95 % interval."""
    if untimed:
        return {"untimed": untimed}
    paths = [first] if first == own else [first, own]
    options = {"threads": [1], "device": "cpu", "latency_seconds": seconds, "sessions": SESSIONS}
    try:
        row = bench(paths, **options)[-1]
    except SegexportError as error:
        return {"untimed": error.what}
    return {"ms": row.undisturbed_ms, "time_ratio": row.ratio, "time_ratio_interval": row.ratio_interval}


def _culprit(export: Path, recipe: dict[str, Any], data: dict[str, Any]) -> str:
    """The first wrong operator, on the first image."""
    image = _first_image(data)
    try:
        found = diagnose(export, None, reference=Path(recipe["model"]["path"]), image=image)
    except SegexportError as error:
        return f"not found: {error.what}"
    return found.findings[0].message if found.findings else ""


if __name__ == "__main__":
    main()
