"""The functions of the Python API, with paths as text and options as keywords; `segexport` exports them.

Each function corresponds to the command of the same name and calls the same library functions. Options have the names
of the command's; an unknown one raises TypeError. Nothing is printed unless `feedback` is given.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segexport.progress import SILENCE, Feedback

if TYPE_CHECKING:
    from segexport.artifact import ModelArtifact
    from segexport.commands.bench import BenchRow
    from segexport.commands.bench_count import CountRow
    from segexport.commands.compress import Compressed
    from segexport.commands.doctor import ComponentStatus
    from segexport.commands.evaluate import Evaluation
    from segexport.commands.inspect import ModelDescription
    from segexport.commands.predict import PictureKind
    from segexport.commands.recommend import Recommendation
    from segexport.commands.recommend_network import NetworkChoice
    from segexport.diagnose.schema import Diagnosis
    from segexport.exporter.import_options import ImportOptions
    from segexport.references.reference_file import ReferenceFile
    from segexport.report.schema import Report
    from segexport.spec import HeadKind
    from segexport.task.base import PredictionResult
    from segexport.video.run import VideoResult

AnyPath = str | Path
_TRAINING_PATHS = ("data", "augmentation", "save_dir", "resume_checkpoint", "log_dir", "teacher")


def import_model(model: AnyPath, output: AnyPath, *, head: HeadKind = "keep", **importing: Any) -> ModelArtifact:
    """Converts an export of PaddleSeg or PaddleX, or a checkpoint with its `config`, to a self-describing artifact.

    Args:
        model: Folder or file of the export, or the file of weights.
        output: A new folder.
        head: `logits`, `softmax`, `argmax` or `argmax_small`; `keep`: the model's own.
        importing: Settings that are missing or wrong in the model's files: `labels`, `preprocess`, `input_size`, ...
            (`segexport.ImportOptions`).

    Raises:
        SegexportError: The model cannot be read.

    Example:
        >>> segexport.import_model("export", "artifact")  # doctest: +SKIP
        <export: paddle fp32, 19 classes, 1.5 MB at artifact>
    """
    from segexport.commands.import_ import import_to
    from segexport.exporter.import_options import ImportOptions

    return import_to(Path(model), Path(output), ImportOptions(**importing), head)


def export(
    model: AnyPath,
    output: AnyPath,
    *,
    to: str,
    precision: str = "fp32",
    calibration: AnyPath | None = None,
    importing: ImportOptions | None = None,
    feedback: Feedback = SILENCE,
    **options: Any,
) -> ModelArtifact:
    """Exports a model to one target, into a new folder.

    Args:
        to: Name of the target: `onnx`, `paddle-lite`, ...
        precision: `fp32`, `fp16`, `bf16`, `int8`, `w8`, `w4` or `w4a8`, if the target supports it.
        calibration: Images for int8: a data folder, or a folder of images.
        importing: As in `import_model`.
        options: Other options of `segexport export`: `head`, `mask_dtype`, `calibration_method`, ...

    Raises:
        SegexportError: The model cannot be read or exported, or the target does not support an option.

    Example:
        >>> segexport.export("export", "my-int8", to="onnx", precision="int8", calibration="data")  # doctest: +SKIP
        <export: onnx int8, 19 classes, 0.5 MB at my-int8>
    """
    from segexport.commands.export import ExportOptions
    from segexport.commands.export import export as run_export

    images = None if calibration is None else Path(calibration)
    given = ExportOptions(to=to, precision=precision, calibration=images, **options)
    return run_export(Path(model), Path(output), _importing(importing), given, feedback=feedback)


def recommend(
    model: AnyPath,
    output: AnyPath,
    *,
    purpose: str,
    data: AnyPath,
    importing: ImportOptions | None = None,
    feedback: Feedback = SILENCE,
    **options: Any,
) -> Recommendation:
    """Makes the exports that fit a purpose, checks them on images, and recommends one: `segexport export --for`.

    Args:
        output: Folder for the exports, the report and recommendation.json.
        purpose: `android` or `server`.
        data: A folder of photos, or a data set with labels.
        importing: As in `import_model`.
        options: Further ones: `split`, `limit`, `device`, `threads`, `latency_seconds`.

    Returns:
        The recommendation; `recommended` is the name of an export, empty if none passed.

    Raises:
        SegexportError: The model or the images cannot be used, or no target for the purpose is installed.

    Example:
        >>> segexport.recommend("export", "out", purpose="android", data="photos").recommended  # doctest: +SKIP
        'onnx-int8'
    """
    from segexport.commands.recommend import RecommendOptions
    from segexport.commands.recommend import recommend as run_recommend

    given = RecommendOptions(purpose=purpose, data=Path(data), **options)
    return run_recommend(Path(model), Path(output), _importing(importing), given, feedback=feedback)


def recommend_network(*, table: AnyPath | None = None, page: AnyPath | None = None, **wishes: Any) -> NetworkChoice:
    """Recommends a network to train, by rows that were measured: `segexport recommend`.

    Args:
        table: A file of measured rows; None: those that this version ships.
        page: HTML file to write, with plots.
        wishes: `purpose`, `target`, `runtime`, `max_size_bytes`, `max_ms`, `min_miou`; see `zoo.choice.Wishes`.

    Returns:
        The choice; `choice.recommended` is None if nothing fits.

    Raises:
        SegexportError: There are no rows, the table is damaged, or a wish names something unknown.

    Example:
        >>> segexport.recommend_network(purpose="android").choice.recommended  # doctest: +SKIP
    """
    from segexport.commands.recommend_network import recommend_network as run_choice
    from segexport.zoo.choice import Wishes

    return run_choice(Wishes(**wishes), _or_none(table), _or_none(page))


def check(
    exports: AnyPath | Iterable[AnyPath],
    output: AnyPath | None = None,
    *,
    reference: AnyPath | None = None,
    data: AnyPath | None = None,
    golden: AnyPath | None = None,
    feedback: Feedback = SILENCE,
    **options: Any,
) -> Report:
    """Compares exports with their original model on real images.

    Args:
        exports: One export, or several.
        output: Folder for report.json, .md, .html and junit.xml; None: no files.
        reference: The original model, or a recording of it.
        data: Images, with labels or without.
        golden: A golden pack, instead of `reference` and `data`.
        options: Other options of `segexport check`: `split`, `groups`, `limit`, `device`, `threads`, `latency_seconds`,
            `baseline`, ...

    Returns:
        The report; `report.verdict` is PASS, FAIL, INCONCLUSIVE or ERROR.

    Raises:
        SegexportError: The reference or the data cannot be used. An unusable export is an ERROR in the report.

    Example:
        >>> segexport.check("my-int8", reference="export", data="data").verdict  # doctest: +SKIP
        <Verdict.PASS: 'PASS'>
    """
    from segexport.commands.check import CheckOptions
    from segexport.commands.check import check as run_check

    paths = {"reference": reference, "data": data, "golden": golden, **options}
    given = CheckOptions(
        **_with_paths(
            paths, "reference", "data", "golden", "label_map", "preprocess", "labels", "config", "paddleseg", "baseline"
        )
    )
    names = [exports] if isinstance(exports, str | Path) else exports
    return run_check([Path(one) for one in names], _or_none(output), given, feedback=feedback)


def run(
    recipe: AnyPath,
    output: AnyPath,
    *,
    without: Iterable[str] = (),
    on: str | None = None,
    feedback: Feedback = SILENCE,
) -> Report:
    """Runs a recipe: its steps, its exports and their check.

    Args:
        output: Folder for exports, pictures and reports.
        without: Kinds of steps to leave out.
        on: Where exports are made and run: `local`, `local:4`, `dask://HOST:8786`; None: in this process.

    Raises:
        SegexportError: The recipe, the model or the data cannot be used.

    Example:
        >>> segexport.run("recipe.yaml", "out").verdict  # doctest: +SKIP
        <Verdict.PASS: 'PASS'>
    """
    from segexport.commands.run import run as run_recipe

    return run_recipe(Path(recipe), Path(output), without=tuple(without), on=on, feedback=feedback)


def compress(
    model: AnyPath,
    output: AnyPath,
    *,
    data: AnyPath,
    max_miou_drop: float = 0.005,
    objective: str = "latency",
    importing: ImportOptions | None = None,
    feedback: Feedback = SILENCE,
    **options: Any,
) -> Compressed:
    """Finds the best compression within an allowed loss of mIoU, and proves it on images that the search did not use.

    Args:
        data: PaddleSeg data folder: train.txt, val.txt, labels.txt.
        max_miou_drop: Allowed loss of mIoU, as a fraction of 1.
        objective: `latency`, `size` or `flops`.
        options: Other options of `segexport compress`: `budget_minutes`, `to`, `train`, `verdict_split`, ...

    Raises:
        SegexportError: The model or the data cannot be used, or the fp32 export cannot be made.

    Example:
        >>> print(segexport.compress("export", "small", data="data").summary.sentence)  # doctest: +SKIP
        all int8: mIoU -0.0011 (at worst -0.0023 with 95 % certainty, ...), 0.29x the size of fp32, 0.62x its time.
    """
    from segexport.commands.compress import CompressOptions
    from segexport.commands.compress import compress as run_search

    common = {"data": data, "max_miou_drop": max_miou_drop, "objective": objective, **options}
    given = CompressOptions(**_with_paths(common, "data", "label_map"))
    return run_search(Path(model), Path(output), _importing(importing), given, feedback=feedback)


def finetune(
    model: AnyPath,
    output: AnyPath,
    *,
    data: AnyPath,
    importing: ImportOptions | None = None,
    feedback: Feedback = SILENCE,
    **options: Any,
) -> ModelArtifact:
    """Fine-tunes an export on your own images, also with other classes.

    Args:
        data: PaddleSeg data folder.
        options: Other options of `segexport finetune`, named as in PaddleX: `num_epochs` or `steps`, `batch_size`,
            `learning_rate`, ...

    Raises:
        SegexportError: Model, data or options cannot be used, or the training fails.

    Example:
        >>> segexport.finetune("export", "tuned", data="data", num_epochs=10, batch_size=4)  # doctest: +SKIP
        <export: paddle fp32, 11 classes, 2.1 MB at tuned>
    """
    from segexport.commands.finetune import FinetuneOptions
    from segexport.commands.finetune import finetune as run_training

    given = FinetuneOptions(**_with_paths({"data": data, **options}, *_TRAINING_PATHS))
    return run_training(Path(model), Path(output), _importing(importing), given, feedback=feedback)


def train(
    network: str, output: AnyPath, *, data: AnyPath, feedback: Feedback = SILENCE, **options: Any
) -> ModelArtifact:
    """Trains a network of PaddleSeg on your own images.

    Args:
        network: A name in PaddleSeg, such as `PPLiteSeg`, or the path of a configuration.
        data: PaddleSeg data folder.
        options: Other options of `segexport train`: `backbone`, `option`, `image_size`, `pretrained`,
            `sensitivities_file`, `head`, `multi_loss_weight`, and those of `finetune`.

    Raises:
        SegexportError: PaddleSeg does not have the network, data or options cannot be used, or the training fails.

    Example:
        >>> segexport.train("FastSCNN", "trained", data="data", num_epochs=100)  # doctest: +SKIP
        <export: paddle fp32, 11 classes, 5.8 MB at trained>
    """
    from segexport.commands.finetune import FinetuneOptions
    from segexport.commands.train import NetworkOptions
    from segexport.commands.train import train as run_training

    network_names = NetworkOptions.__dataclass_fields__
    wanted = {name: value for name, value in options.items() if name in network_names}
    course = {name: value for name, value in options.items() if name not in network_names}
    return run_training(
        network,
        Path(output),
        NetworkOptions(**_with_paths(wanted, "sensitivities_file", "paddleseg")),
        FinetuneOptions(**_with_paths({"data": data, **course}, *_TRAINING_PATHS)),
        feedback=feedback,
    )


def diagnose(
    export: AnyPath,
    output: AnyPath | None = None,
    *,
    reference: AnyPath,
    image: AnyPath,
    threads: int = 1,
    importing: ImportOptions | None = None,
    feedback: Feedback = SILENCE,
) -> Diagnosis:
    """Finds the first operator of an export whose result differs from the original model's.

    Args:
        output: Folder for the report and a minimal model with the fault; None: no files.
        image: An image on which the two differ.
        importing: Information that the reference's files lack, such as the `config` of a checkpoint.

    Raises:
        SegexportError: The export or the reference cannot be read or run.

    Example:
        >>> segexport.diagnose("my-onnx", reference="export", image="street.png").findings  # doctest: +SKIP
        ()
    """
    from segexport.commands.diagnose import diagnose as run_diagnosis

    where = {"reference": Path(reference), "image": Path(image), "importing": importing}
    return run_diagnosis(Path(export), _or_none(output), **where, threads=threads, feedback=feedback)


def bench(
    exports: AnyPath | Iterable[AnyPath],
    *,
    threads: Iterable[int] = (1,),
    device: str = "cpu",
    latency_seconds: float = 10.0,
    runtime: Iterable[str] = (),
    all_runtimes: bool = False,
    feedback: Feedback = SILENCE,
) -> list[BenchRow]:
    """Times exports alternately; ratios are relative to the first one.

    Args:
        exports: Exports, or folders of exports.
        threads: Numbers of threads; each export runs with each number.
        latency_seconds: Duration of all timed runs together, in seconds.
        runtime: Names of runtimes; each one runs the exports of its formats.
        all_runtimes: Whether to run each export in every installed runtime of its format.

    Returns:
        One row per export, runtime and number of threads; times in milliseconds.

    Raises:
        SegexportError: An export cannot be opened or run.

    Example:
        >>> [(row.name, row.p50_ms) for row in segexport.bench(["fp32", "int8"])]  # doctest: +SKIP
        [('fp32', 4.61), ('int8', 2.87)]
    """
    from segexport.commands.bench import bench as run_bench

    names = [exports] if isinstance(exports, str | Path) else exports
    paths = [Path(one) for one in names]
    options = {"threads": tuple(threads), "device": device, "latency_seconds": latency_seconds}
    return run_bench(paths, **options, runtime=tuple(runtime), all_runtimes=all_runtimes, feedback=feedback)


def count_instructions(exports: AnyPath | Iterable[AnyPath], *, feedback: Feedback = SILENCE) -> list[CountRow]:
    """Counts the instructions of one inference of ONNX exports, by processor: a cost that repeats, not a speed.

    Args:
        exports: Exports, or folders of exports.

    Returns:
        A row for each export and processor; `skipped` says why one was not counted.

    Raises:
        SegexportError: An export does not run where it is counted.

    Example:
        >>> [row.instructions for row in segexport.count_instructions("int8")]  # doctest: +SKIP
        [82375104, 165704192, None]
    """
    from segexport.commands.bench_count import bench_count

    names = [exports] if isinstance(exports, str | Path) else exports
    return bench_count([Path(one) for one in names], feedback=feedback)


def record_reference(
    model: AnyPath,
    data: AnyPath,
    output: AnyPath,
    *,
    importing: ImportOptions | None = None,
    feedback: Feedback = SILENCE,
    **options: Any,
) -> ReferenceFile:
    """Records the original's results in one file; `check(reference=FILE)` then needs neither the model nor a GPU.

    Args:
        options: Other options of `segexport reference record`: `split`, `limit`, `device`, `threads`, ...

    Raises:
        SegexportError: The model or the data cannot be used, or the device does not exist.

    Example:
        >>> segexport.record_reference("export", "data", "model.ref").scores().miou  # doctest: +SKIP
        0.6002
    """
    from segexport.commands.reference import RecordOptions
    from segexport.commands.reference import record_reference as run_recording

    given = RecordOptions(**_with_paths(options, "label_map"))
    where = Path(model), Path(data), Path(output)
    return run_recording(*where, _importing(importing), given, feedback=feedback)


def inspect(
    model: AnyPath, *, input_size: tuple[int, int] | None = None, importing: ImportOptions | None = None
) -> ModelDescription:
    """Describes a model: structure, cost, and the targets that support it. Converts nothing.

    Args:
        model: A Paddle export, a training checkpoint, or an artifact in any format.
        input_size: (width, height) in pixels for a dynamic input size; the costs depend on it.
        importing: Other information that the files lack, such as the `config` of a checkpoint.

    Raises:
        SegexportError: The model cannot be read.

    Example:
        >>> described = segexport.inspect("export")  # doctest: +SKIP
        >>> [(found.target, found.support) for found in described.program.targets]  # doctest: +SKIP
        [('onnx', 'after rewrites'), ('paddle-lite', 'as it is')]
    """
    from segexport.commands.inspect import inspect as describe

    options = _importing(importing)
    return describe(
        Path(model), options if input_size is None else options.model_copy(update={"input_size": input_size})
    )


def evaluate(
    model: AnyPath,
    *,
    data: AnyPath,
    split: str = "val",
    importing: ImportOptions | None = None,
    feedback: Feedback = SILENCE,
    **options: Any,
) -> Evaluation:
    """Measures the accuracy of a model on labelled images.

    Args:
        model: A Paddle export, or an artifact in any format.
        data: PaddleSeg data folder with labels; for instance segmentation a COCO or Pascal VOC folder.
        options: Other options of `segexport evaluate`: `label_map`, `metric`, `batch_size`, `device`, `threads`,
            `details`.

    Raises:
        SegexportError: The model or the data cannot be used.

    Example:
        >>> segexport.evaluate("my-int8", data="data").values["miou"]  # doctest: +SKIP
        0.5984
    """
    from segexport.commands.evaluate import EvaluateOptions
    from segexport.commands.evaluate import evaluate as run_evaluation

    given = EvaluateOptions(data=Path(data), split=split, **_with_paths(options, "label_map"))
    return run_evaluation(Path(model), _importing(importing), given, feedback=feedback)


def predict(
    model: AnyPath,
    inputs: AnyPath | Iterable[AnyPath],
    output: AnyPath | None = None,
    *,
    kind: PictureKind = "overlay",
    with_json: bool = False,
    device: str = "cpu",
    threads: int = 1,
    runtime: str = "",
    importing: ImportOptions | None = None,
    feedback: Feedback = SILENCE,
    **options: Any,
) -> list[PredictionResult | VideoResult]:
    """Segments images and videos, and saves a picture of each result.

    All results stay in memory; of a video, the last frame. `load(model).predict(inputs)` yields them one by one and
    also accepts arrays; `load(model).stream()` processes a video frame by frame.

    Args:
        model: A Paddle export, or an artifact in any format.
        inputs: Image file, folder of images, URL, video file or camera; one or several.
        output: Folder for the pictures, or the file of one video; None: nothing is saved.
        kind: `overlay`, `color`, or `mask` (a PNG of class ids).
        with_json: Whether to save each result as JSON too.
        runtime: As in `load`.
        options: Other options of `segexport predict`: `target_size`, `slice_size`, `batch_size`, `score_threshold`, and
            for videos `smooth`, `flow`, `background`, `foreground`, `frames`.

    Raises:
        SegexportError: The model or an image cannot be read, or an option does not fit the model's task.

    Example:
        >>> segexport.predict("my-int8", "street.png", "out")  # doctest: +SKIP
        [<SegmentationResult street.png: 960x720; road 31.2%, building 24.0%, sky 18.5%, ...>]
    """
    from segexport.commands.predict import SaveOptions
    from segexport.commands.predict import predict as run_prediction
    from segexport.predict.options import PredictOptions
    from segexport.video.options import VideoOptions

    names = [inputs] if isinstance(inputs, str | Path) else inputs
    of_videos = {name: options.pop(name) for name in vars(VideoOptions()) if name in options}
    given, saving = PredictOptions(**options), SaveOptions(_or_none(output), kind, with_json)
    running = {"video": VideoOptions(**of_videos), "device": device, "threads": threads, "runtime": runtime}
    found = run_prediction(
        Path(model), [str(one) for one in names], _importing(importing), given, saving, **running, feedback=feedback
    )
    return [saved.result for saved in found]


def doctor(*, feedback: Feedback = SILENCE) -> list[ComponentStatus]:
    """Checks the installed runtimes and converters by a small job in each.

    Raises:
        SegexportError: The cache folder cannot be read.

    Example:
        >>> [found.name for found in segexport.doctor() if found.kind == "runtime" and found.ok]  # doctest: +SKIP
        ['onnxruntime', 'paddle', 'paddle-lite']
    """
    from segexport.commands.doctor import examine

    return examine(feedback.progress)


def _importing(given: ImportOptions | None) -> ImportOptions:
    from segexport.exporter.import_options import ImportOptions

    return ImportOptions() if given is None else given


def _or_none(path: AnyPath | None) -> Path | None:
    return None if path is None else Path(path)


def _with_paths(options: dict[str, Any], *names: str) -> dict[str, Any]:
    """The options, with the named ones converted to paths."""
    return {name: _or_none(value) if name in names else value for name, value in options.items()}
