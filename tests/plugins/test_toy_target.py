"""A target and a runtime of another package, all in this file: found by entry point, and nothing else is changed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Literal

from installed import require

from segexport.artifact import Manifest, ModelArtifact, file_entry
from segexport.exporter.converters import PADDLE2ONNX
from segexport.exporter.targets.base import ExportTarget
from segexport.pipeline.registry import make_step
from segexport.pipeline.step import Step, StepContext, lineage_entry
from segexport.recipe.export import ExportRecipe
from segexport.runtimes.base import WorkerRuntime
from segexport.spec import Format, Frozen, Precision


class ToToy:
    kind, version, params, needs, uses_data = "to_toy", "1", Frozen(), (), False
    accepts, produces = Format.ONNX, Format("toy")

    def run(self, source: ModelArtifact, out_dir: Path, context: StepContext) -> Manifest:
        shutil.copyfile(source.file("model"), out_dir / "model.toy")
        files, made = (file_entry(out_dir, "model.toy"),), (*source.manifest.lineage, lineage_entry(self, context.key))
        return source.manifest.model_copy(update={"format": self.produces, "files": files, "lineage": made})


class ToyExport(ExportRecipe):
    to: Literal["toy"]
    precision: Literal[Precision.FP32] = Precision.FP32


class Toy(ExportTarget):
    name, title, format, Recipe = "toy", "Toy", Format("toy"), ToyExport
    runtimes, toolchains, converters = ("toy",), ("onnx",), (PADDLE2ONNX,)

    def steps(self, recipe: ToyExport) -> list[Step]:
        return [make_step("to_onnx", {}), ToToy()]


class ToyEngine(WorkerRuntime):
    name, title, runs = "toy", "The toy engine", (Format("toy"),)
    worker, needs = "onnxruntime_worker.py", "onnxruntime"


def test_another_package_brings_a_target_and_a_runtime(tmp_path):
    require("paddle", "paddle2onnx", "onnxruntime")
    targets, runtimes = (f"[segexport.{kind}]\ntoy = test_toy_target:" for kind in ("targets", "runtimes"))
    (package := tmp_path / "toy-1.0.dist-info").mkdir()
    (package / "entry_points.txt").write_text(f"{targets}Toy\n{runtimes}ToyEngine\n")
    model, path = Path(__file__).parents[2] / "src/segexport/demo/model", os.pathsep.join((str(tmp_path), *sys.path))

    def run(*arguments: str | Path) -> str:
        command, environment = [sys.executable, "-m", "segexport", *arguments], {**os.environ, "PYTHONPATH": path}
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "toy" in json.loads(run("recipe", "schema"))["properties"]["exports"]["items"]["discriminator"]["mapping"]
    looked_at = json.loads(run("doctor", "--format", "json"))["findings"]
    assert [one["kind"] for one in looked_at if one["name"] == "toy" and one["ok"]] == ["runtime", "target"]
    assert '"target": "toy"' in run("inspect", model, "--format", "json")
    run("export", model, "--to", "toy", "-o", "mine")
    run("check", "mine", "--reference", model, "--data", model.parent / "data", "--split", "all", "-o", "out")
    (row,) = json.loads(run("report", "out", "--format", "json"))["exports"]
    assert (row["format"], row["runtime"].split()[0], row["verdict"]) == ("toy", "toy", "PASS")
