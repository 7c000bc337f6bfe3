"""Compares segexport's quantization with other tools' on the same model, images and check, in one run.

    python benchmarks/other_quantizers.py MODEL DATA [--slim PYTHON] [--nncf PYTHON] [--label-map FILE] [--limit N]
        [--folder DIR] [--only ROWS] [-o results.json]

Rows: fp32 and int8, plain (to nearest) and compensated, w4a8, and LiteRT's int8 by segexport; ONNX Runtime's
`quantize_static` (MinMax, Percentile, Entropy; QDQ, per channel, as its documentation recommends for CPUs); NNCF's
PTQ in OpenVINO (toolchain nncf) beside our int8 in OpenVINO, and its PTQ of the ONNX file, with --nncf (a Python that
has nncf, onnx and onnxruntime); MNN's own quantizer (EMA) beside our int8 in MNN; and PaddleSlim's
`quant_post_static`, with --slim (a Python that has paddleslim). All calibrate on the same images of the train split and
are checked on the val split. Times are taken in turn with the fp32 ONNX export's, on one thread: by the clock, and as
processor time, which a busy machine disturbs less (`cpu_times.py`). `seconds` and `peak_bytes` are those of the
quantization alone, `cpu_seconds` is its processor time. With --folder, an interrupted run continues with what it has
made; with --only, an existing file keeps its other rows.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
from cpu_times import in_turns
from quantize import rows
from stamped import load, save

import segexport
from segexport import preprocess
from segexport.artifact import file_entry, read_artifact, write_artifact
from segexport.data.dataset import Dataset
from segexport.exporter.from_paddle import ImportOptions, import_model
from segexport.files.disk import CACHE_VARIABLE
from segexport.files.store import Store
from segexport.importers.model_files import find_model
from segexport.pipeline.registry import targets
from segexport.recipe.calibration import Calibration
from segexport.spec import Precision
from segexport.toolchain.catalog import toolchain
from segexport.toolchain.environments import installed
from segexport.ui.console import Console

OURS = {
    "int8-nearest": {"to": "onnx", "precision": "int8", "calibration": {"rounding": "nearest"}},
    "int8": {"to": "onnx", "precision": "int8"},
    "int8-bias": {"to": "onnx", "precision": "int8", "calibration": {"bias_correction": True}},
    "w4a8": {"to": "onnx", "precision": "w4a8"},
    "openvino-int8": {"to": "openvino", "precision": "int8"},
    "openvino-nncf": {"to": "openvino", "precision": "int8", "quantizer": "nncf"},
    "mnn-int8": {"to": "mnn", "precision": "int8"},
    "litert-int8": {"to": "litert", "precision": "int8"},
}
TITLES = {
    "fp32": "fp32 in ONNX Runtime",
    "int8-nearest": "segexport int8, to the nearest",
    "int8": "**segexport int8** (default)",
    "int8-bias": "segexport int8, bias correction",
    "w4a8": "segexport w4a8",
    "openvino-int8": "segexport int8 in OpenVINO",
    "openvino-nncf": "NNCF in OpenVINO",
    "mnn-int8": "segexport int8 in MNN",
    "mnn-own": "MNN's own",
    "litert-int8": "segexport int8 in LiteRT",
    "ort-minmax": "ONNX Runtime, MinMax",
    "ort-percentile": "ONNX Runtime, Percentile",
    "ort-entropy": "ONNX Runtime, Entropy",
    "onnx-nncf": "NNCF in ONNX Runtime",
    "paddleslim": "PaddleSlim in ONNX Runtime",
}
ORT = {"ort-minmax": "MinMax", "ort-percentile": "Percentile", "ort-entropy": "Entropy"}
_ORT_SCRIPT = """
import sys, glob, json, resource, time
import numpy as np
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

fp32, out, images, name, method = sys.argv[1:]
class Reader(CalibrationDataReader):
    def __init__(self):
        self.files = iter(sorted(glob.glob(images + "/*.npy")))
    def get_next(self):
        file = next(self.files, None)
        return None if file is None else {name: np.load(file)}
start = time.monotonic()
quant_pre_process(fp32, out + ".pre.onnx", skip_symbolic_shape=True)
quantize_static(out + ".pre.onnx", out, Reader(), quant_format=QuantFormat.QDQ, per_channel=True,
                activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
                calibrate_method=CalibrationMethod[method])
print(json.dumps({"seconds": time.monotonic() - start,
                  "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10}))
"""
_NNCF_SCRIPT = """
import sys, glob, json, resource, time
import numpy as np, onnx, nncf

fp32, out, images, name = sys.argv[1:]
start = time.monotonic()
files = sorted(glob.glob(images + "/*.npy"))
dataset = nncf.Dataset(files, lambda file: {name: np.load(file)})
onnx.save(nncf.quantize(onnx.load(fp32), dataset, subset_size=len(files), preset=nncf.QuantizationPreset.MIXED), out)
print(json.dumps({"seconds": time.monotonic() - start,
                  "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10}))
"""
_SLIM_SCRIPT = """
import sys, glob, json, resource, time
import numpy as np, paddle
from paddleslim.quant import quant_post_static

folder, model, params, out, images, name = sys.argv[1:]
paddle.enable_static()
class Images(paddle.io.Dataset):
    files = sorted(glob.glob(images + "/*.npy"))
    def __len__(self):
        return len(self.files)
    def __getitem__(self, index):
        return (np.load(self.files[index])[0],)
start = time.monotonic()
image = paddle.static.data(name, [None, *Images()[0][0].shape], "float32")
loader = paddle.io.DataLoader(Images(), feed_list=[image], places=[paddle.CPUPlace()], batch_size=1, return_list=False)
quant_post_static(paddle.static.Executor(paddle.CPUPlace()), folder, out, model_filename=model, params_filename=params,
                  data_loader=loader, batch_nums=None, algo="hist", onnx_format=True, is_full_quantize=False,
                  weight_quantize_type="channel_wise_abs_max")
print(json.dumps({"seconds": time.monotonic() - start,
                  "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10}))
"""


_MNN_SCRIPT = """
import json, resource, sys, time
import _tools

model, out, config = sys.argv[1:]
start = time.monotonic()
_tools.mnnquant(["mnnquant", model, out, config])
print(json.dumps({"seconds": time.monotonic() - start,
                  "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10}))
"""


class Bench:
    """One model, one set of calibration images, and a folder for what the tools write."""

    def __init__(self, model: Path, data: Path, limit: int | None, label_map: Path | None, folder: Path) -> None:
        self.folder, self.model, self.data, self.limit = folder, model, data, limit
        self.label_map = label_map
        self.store = folder / "store"  # of its own: an export from the user's store would have cost nothing
        self.source = import_model(model, ImportOptions(), Store(self.store))
        self.images, self.photos = folder / "images", folder / "photos"
        self.images.mkdir(exist_ok=True)
        self.photos.mkdir(exist_ok=True)
        chosen = Dataset.open(data, "train").subset(Calibration().images, 0).read_for(self.source.manifest.preprocess)
        for index, sample in enumerate(chosen):
            tensor, _ = preprocess.example(self.source.manifest.preprocess, sample.image)
            np.save(self.images / f"{index:04d}.npy", tensor)
            cv2.imwrite(str(self.photos / f"{index:04d}.png"), sample.image[:, :, ::-1])
        self.record = folder / "costs.json"
        self.costs: dict[str, dict] = json.loads(self.record.read_text()) if self.record.is_file() else {}
        self.made: list[Path] = []

    def ours(self) -> None:
        """Makes every export of segexport, each with its cost."""
        for name, options in {"fp32": {}, "mnn-fp32": {"to": "mnn"}, **OURS}.items():
            out = self.folder / name
            recipe = {"to": "onnx", "precision": "fp32", **options}
            command = [sys.executable, __file__, "--one", json.dumps(recipe), str(self.model), str(self.data), str(out)]
            self._ran(name, command, out)
        self.made.remove(self.folder / "mnn-fp32")

    def onnx_runtime(self) -> None:
        fp32 = self.folder / "fp32/model.onnx"
        for name, method in ORT.items():
            out = self.folder / f"{name}.onnx"
            image = self.source.manifest.image.name
            command = [sys.executable, "-c", _ORT_SCRIPT, str(fp32), str(out), str(self.images), image, method]
            self._ran(name, command, out)

    def mnn(self) -> None:
        """MNN's own quantizer, with the preprocessing in its terms."""
        contract, shape = self.source.manifest.preprocess, self.source.manifest.image.shape
        config = {"format": contract.color.upper(), "width": shape[3], "height": shape[2], "path": str(self.photos)}
        config |= {"mean": [value / contract.scale for value in contract.mean]}
        config |= {"normal": [contract.scale / value for value in contract.std]}
        config |= {"used_image_num": Calibration().images, "feature_quantize_method": "EMA", "batch_size": 1}
        config |= {"weight_quantize_method": "MAX_ABS", "quant_bits": 8, "input_type": "image"}
        (self.folder / "mnn.json").write_text(json.dumps(config))
        before, out = self.folder / "mnn-fp32", self.folder / "mnn-own"
        out.mkdir(exist_ok=True)
        found = installed(toolchain("mnn"))
        if found is None:
            self.costs["mnn-own"] = {"error": "toolchain mnn is not installed"}
            return
        paths = [str(before / "model.mnn"), str(out / "model.mnn"), str(self.folder / "mnn.json")]
        self._ran("mnn-own", [str(found.python), "-c", _MNN_SCRIPT, *paths], out / "model.mnn")
        if self.made[-1:] == [out / "model.mnn"]:
            manifest = read_artifact(before).manifest
            target = manifest.target.model_copy(update={"precision": Precision.INT8})
            write_artifact(
                out, manifest.model_copy(update={"files": (file_entry(out, "model.mnn"),), "target": target})
            )
            self.made[-1] = out

    def nncf(self, python: Path) -> None:
        fp32, out = self.folder / "fp32/model.onnx", self.folder / "onnx-nncf.onnx"
        files = [str(fp32), str(out), str(self.images), self.source.manifest.image.name]
        self._ran("onnx-nncf", [str(python), "-c", _NNCF_SCRIPT, *files], out)

    def paddleslim(self, python: Path) -> None:
        program, out = next(self.model.glob("*.pdmodel")), self.folder / "slim"
        files = [str(self.model), program.name, program.with_suffix(".pdiparams").name, str(out), str(self.images)]
        self._ran("paddleslim", [str(python), "-c", _SLIM_SCRIPT, *files, self.source.manifest.image.name], out)
        if self.made[-1:] == [out]:
            deploy = self.model / "deploy.yaml"
            if deploy.is_file():
                shutil.copy(deploy, out)
            if not (self.folder / "paddleslim").is_dir():
                segexport.export(out, self.folder / "paddleslim", to="onnx", precision="int8")
            self.made[-1] = self.folder / "paddleslim"

    def check(self, seconds: float, only: list[str]) -> list[dict]:
        """Rows of the exports, or of those that `only` names; times are taken of all."""
        asked = [path for path in self.made if not only or path.stem in (*only, "fp32")]
        report = segexport.check(
            asked, reference=self.model, data=self.data, limit=self.limit, label_map=self.label_map,
            latency_seconds=seconds, feedback=Console(quiet=True),
        )  # fmt: skip
        found = [{**row, **self.costs.get(row["name"], {})} for row in rows(report)]
        for row, export in zip(found, report.exports, strict=True):
            row["errors"] = [check.message for check in export.checks if check.verdict.value == "ERROR"]
        return found

    def times(self, rounds: int) -> dict[str, dict]:
        artifacts = {}
        for path in self.made:
            target = targets().get(find_model(path).kind)
            adopted = None if target is None else target.adopt(path, self.source, Store(self.store))
            artifacts[path.stem] = adopted or read_artifact(path)
        return in_turns(artifacts, rounds)

    def _ran(self, name: str, command: list[str], out: Path) -> None:
        """Runs a tool, unless an earlier run has; keeps its cost, or the end of its error."""
        if name not in self.costs:
            self.costs[name] = self._cost(command, out)
            self.record.write_text(json.dumps(self.costs, indent=1))
            print(name, self.costs[name], flush=True)
        if "error" not in self.costs[name]:
            self.made.append(out)

    def _cost(self, command: list[str], out: Path) -> dict:
        if out.is_dir():  # of an interrupted run
            shutil.rmtree(out)
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        environment = {**os.environ, CACHE_VARIABLE: str(self.store)}
        try:
            ended = subprocess.run(command, capture_output=True, text=True, timeout=3600, env=environment)
        except subprocess.TimeoutExpired:
            return {"error": "no end within an hour"}
        if ended.returncode or not out.exists():
            lines = [line.strip() for line in ended.stderr.splitlines() if line.strip()] or ["no message"]
            return {"error": f"exit {ended.returncode}: {lines[-1][:200]}"}
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime
        return {**json.loads(ended.stdout.splitlines()[-1]), "cpu_seconds": round(cpu, 1)}


def table(found: list[dict], failed: dict[str, str]) -> str:
    """The rows as Markdown; ratios are to the first row, fp32."""
    lines = ["| quantizer | mIoU, change | agreement | size | time | processor s | memory |", "|---|" + "---|" * 6]
    for row in found:
        cells = [TITLES.get(row["name"], row["name"])]
        if row["miou"] is None:
            lines.append(f"| {cells[0]} | {' '.join(row.get('errors') or ['no result'])[:120]} |" + " |" * 5)
            continue
        low, high = row["miou_delta_interval"]
        cells += [f"{row['miou_delta']:+.4f} ({low:+.4f} to {high:+.4f})", f"{row['agreement']:.2%}"]
        cells.append(f"{row['size_bytes'] / found[0]['size_bytes']:.2f}")
        if row.get("cpu_ratio") is None:
            cells.append("–")
        else:
            cells.append(f"{row['cpu_ratio']:.2f} ({' to '.join(f'{end:.2f}' for end in row['cpu_ratio_interval'])})")
        cells += (
            [f"{row['cpu_seconds']:.0f}", f"{row['peak_bytes'] / 1e6:,.0f} MB"] if "cpu_seconds" in row else ["–", "–"]
        )
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(
        [*lines, *(f"| {TITLES.get(name, name)} | {error} |" + " |" * 5 for name, error in failed.items())]
    )


def one(recipe: dict, model: Path, data: Path, out: Path) -> None:
    """Makes one export in this process and prints its cost."""
    options = dict(recipe)
    calibration = options.pop("calibration", {})
    more = [f"calibration.{key}={json.dumps(value)}" for key, value in calibration.items()]
    more += [f"{key}={value}" for key, value in options.items() if key not in ("to", "precision")]
    start = time.monotonic()
    images = data if options["precision"] != "fp32" else None
    segexport.export(
        model, out, to=options["to"], precision=options["precision"], calibration=images, option=tuple(more)
    )
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss << 10
    print(json.dumps({"seconds": time.monotonic() - start, "peak_bytes": peak}))


def main() -> None:
    if sys.argv[1:2] == ["--one"]:
        one(json.loads(sys.argv[2]), *map(Path, sys.argv[3:]))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--label-map", type=Path, help="YAML: class of the model -> class of the data")
    parser.add_argument("--slim", type=Path, help="a Python with paddleslim and paddlepaddle")
    parser.add_argument("--nncf", type=Path, help="a Python with nncf, onnx and onnxruntime")
    parser.add_argument("--limit", type=int, help="images of the val split")
    parser.add_argument("--folder", type=Path, help="keeps what was made, and continues from it")
    parser.add_argument("--only", type=lambda text: text.split(","), default=[], help="rows, separated by commas")
    parser.add_argument("--rounds", type=int, default=21, help="of the processor times")
    parser.add_argument("--seconds", type=float, default=120.0, help="for all latencies together")
    parser.add_argument("-o", "--output", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = (given.folder or Path(scratch)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        bench = Bench(given.model.resolve(), given.data.resolve(), given.limit, given.label_map, folder)
        bench.ours()
        bench.onnx_runtime()
        bench.mnn()
        if given.nncf:
            bench.nncf(given.nncf.absolute())
        if given.slim:
            bench.paddleslim(given.slim.absolute())
        found = bench.check(given.seconds, given.only)
        if given.only and given.output and given.output.is_file():
            new = {row["name"]: row for row in found if row["name"] in given.only}
            before = load(given.output)["rows"]
            found = [new.pop(row["name"], row) for row in before] + list(new.values())
        failed = {name: cost["error"] for name, cost in bench.costs.items() if "error" in cost}
        result = {"model": given.model.name, "images": given.limit, "rows": found, "failed": failed}
        if given.output:  # before the times, so that a fault there keeps the rest
            save(given.output, result)
        times = bench.times(given.rounds)
        result["rows"] = [{**row, **times.get(row["name"], {})} for row in found]
    print(table(result["rows"], failed))
    if given.output:
        save(given.output, result)


if __name__ == "__main__":
    main()
