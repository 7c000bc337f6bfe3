"""Compares the x86 twin of an int8 Paddle-Lite export with Paddle's results for the same rounding program.

    python benchmarks/lite_twin.py --shared SHARED --images FOLDER [--models NAME ...] [--limit 6] [-o FILE]

The check of a Paddle-Lite export, and the golden sample that goes into the app, come from the twin. FOLDER is a data
set in PaddleSeg's form; it calibrates the trained networks, and its val images are compared.

A value that lies between two steps of a rounding goes either way with the last bit of the sum before it. How much that
moves is measured by a second correct program: Paddle's own, optimized, beside Paddle's plain one.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
from stamped import REPOSITORY, save

from segexport.artifact import ModelArtifact, file_entry, read_artifact, write_artifact
from segexport.data.dataset import Dataset
from segexport.exporter import program as programs
from segexport.exporter.calibrate import Rounding
from segexport.exporter.from_paddle import ImportOptions, import_model
from segexport.exporter.lite_int8 import with_int8_arithmetic, with_whole_weights
from segexport.exporter.to_paddle_lite import ToPaddleLite
from segexport.files.store import Store
from segexport.pipeline.step import StepContext
from segexport.preprocess import apply
from segexport.runtimes.base import RunOptions
from segexport.runtimes.lite import PaddleLiteRuntime
from segexport.runtimes.paddle import PaddleRuntime
from segexport.spec import Precision

DEMO = REPOSITORY / "src/segexport/demo"
LIMIT_AGREEMENT = 0.998


class Remembering(ToPaddleLite):
    """Stores the rounding of its last run."""

    rounding: Rounding

    def _found(self, source: ModelArtifact, context: StepContext) -> Rounding:
        self.rounding = super()._found(source, context)
        return self.rounding


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, required=True, help="The folder of test models.")
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--models", nargs="*", metavar="NAME", help="Only these.")
    parser.add_argument("--limit", type=int, default=6, help="Images of each model.")
    parser.add_argument("-o", "--output", type=Path)
    given = parser.parse_args()
    models = given.shared / "models"
    sources = {
        "demo": (DEMO / "model", DEMO / "data", ImportOptions()),
        "camvid_small": (models / "camvid_small", given.images, ImportOptions()),
        "pphumanseg_lite": (models / "pphumanseg_lite/export_softmax", given.images, ImportOptions()),
        "espnet": (
            models / "espnet_cityscapes/export_argmax",
            given.images,
            ImportOptions.from_strings(input_size="480x360"),
        ),
    }
    results = {}
    for name in given.models or sources:
        path, images, importing = sources[name]
        with tempfile.TemporaryDirectory() as scratch:
            results[name] = compared(import_model(path, importing, Store()), images, Path(scratch), given.limit)
        print(name, results[name], flush=True)
        if given.output:
            save(given.output, {"limit": LIMIT_AGREEMENT, "models": results})


def compared(source: ModelArtifact, images: Path, folder: Path, limit: int) -> dict:
    """Agreement with Paddle's masks of the rounding program: the twin's, optimized Paddle's, and the float model's."""
    step = Remembering(ToPaddleLite.Params(precision=Precision.INT8))
    (folder / "lite").mkdir()
    context = StepContext(data=Dataset.open(images, "train"))
    write_artifact(folder / "lite", step.run(source, folder / "lite", context))
    export = read_artifact(folder / "lite")
    found = step.rounding
    whole, magnitudes = with_whole_weights(
        programs.read(source.file("model"), source.file("params")), found.whole, found.weights
    )
    rounding = written(with_int8_arithmetic(whole, found.ranges, magnitudes)[0], source, folder / "rounding")
    validation = Dataset.open(images, "val").at_most(limit)
    contract, options = source.manifest.preprocess, RunOptions()
    shares: dict[str, list[float]] = {"twin": [], "optimized": [], "float": []}
    with (
        PaddleLiteRuntime().open(export, options) as twin,
        PaddleRuntime().open(rounding, options) as paddle,
        PaddleRuntime().open(rounding, RunOptions(options={"graph": "optimized"})) as optimized,
        PaddleRuntime().open(source, options) as unrounded,
    ):
        for index in range(len(validation)):
            tensor, _ = apply(contract, validation.read(index).image, input_spec=source.manifest.inputs[0])
            expected = paddle.infer([tensor]).mask
            for name, session in (("twin", twin), ("optimized", optimized), ("float", unrounded)):
                shares[name].append(float((session.infer([tensor]).mask == expected).mean()))
    return {
        "images": len(validation),
        "input": list(source.manifest.inputs[0].shape),
        "twin_agrees_with_paddle": float(np.mean(shares["twin"])),
        "worst_image": min(shares["twin"]),
        "optimized_paddle_agrees_with_paddle": float(np.mean(shares["optimized"])),
        "float_agrees_with_rounding": float(np.mean(shares["float"])),
        "holds": float(np.mean(shares["twin"])) >= LIMIT_AGREEMENT,
    }


def written(graph: programs.Program, source: ModelArtifact, folder: Path) -> ModelArtifact:
    """Writes the program as an artifact for Paddle."""
    folder.mkdir()
    model, params = graph.write(folder)
    files = (file_entry(folder, model.name), file_entry(folder, params.name, "params"))
    return write_artifact(folder, source.manifest.model_copy(update={"files": files}))


if __name__ == "__main__":
    main()
