"""Makes golden packs; `golden_pack` defines their content and reads them."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from segexport import __version__, preprocess
from segexport.artifact import ModelArtifact, digest_of
from segexport.data.dataset import Dataset, Sample
from segexport.data.images import decode_image, encode_image
from segexport.errors import InputError, ModelOutputError
from segexport.files.atomic import whole_file
from segexport.files.output_folder import new_folder
from segexport.measure.environment import now
from segexport.pipeline.registry import runtime_for, target_of
from segexport.progress import Progress, silent
from segexport.recipe.limits import limits_for
from segexport.references.archive import require_new
from segexport.references.golden_pack import KIND, PACK_NAME, SCHEMA_VERSION, GoldenImage, Pack, Tolerance
from segexport.references.logits import digest_logits
from segexport.runtimes.base import RunOptions, Session
from segexport.runtimes.device_job import JOB_NAME, JobItem, write_items, write_job
from segexport.spec import Precision, score_output

LOGIT_TOLERANCES = {Precision.FP32: 0.001, Precision.FP16: 0.02}
"""Root mean square difference of scores, in standard deviations of the scores. For int8 and w8 it is only reported:
their scores change by tenths although the masks do not."""


def make_pack(
    source: ModelArtifact,
    data: Dataset,
    output: Path,
    *,
    images: int = 8,
    device: str = "cpu",
    threads: int = 1,
    progress: Progress = silent,
) -> Path:
    """Runs the model on some images, spread over the data, and packs images and expected results.

    Args:
        source: The trained model, or an export: the pack then contains it, and a phone can run it.
        output: A folder, or a file that ends in `.zip`.

    Raises:
        InputError: There are more than 256 classes, or the masks have one class only, as those of a broken model.
    """
    require_new(output)
    manifest = source.manifest
    if manifest.preprocess.tiles is not None:
        raise InputError(f"{manifest.name}: a phone runs whole images, and this manifest asks for tiles")
    if manifest.num_classes > 256:
        raise InputError(
            f"{manifest.name}: {manifest.num_classes} classes",
            cause="a pack's masks are grey levels, of which there are 256",
        )
    chosen = data.subset(images).read_for(manifest.preprocess)
    target = target_of(manifest.format)
    options = {} if target is None else dict(target.as_on_device)
    runtime = runtime_for(manifest.format)
    with _place(output) as work, runtime.open(source, RunOptions(device, threads, options=options)) as session:
        with progress("packing", len(chosen)) as bar:
            made = []
            for sample in chosen:
                group = chosen.entries[sample.index].group if chosen.groups else ""
                made.append(_write_image(sample, group, source, session, work))
                bar.advance()
        if len(set().union(*(classes for _, classes in made))) < 2:
            raise ModelOutputError(
                f"the model's mask is one single class on all {len(made)} images",
                cause="a dead export would agree with it in every pixel",
                hint="give other images, or more of them: --images",
            )
        info = session.info
        pack = Pack(
            created=now(),
            segexport_version=__version__,
            model=manifest,
            runtime=info.runtime,
            version=info.version,
            provider=info.provider,
            device=info.device,
            threads=info.threads,
            tolerances=_tolerances(),
            groups=chosen.groups,
            images=tuple(image for image, _ in made),
        )
        digest = _write_header(pack, work)
        items = [JobItem(_as_sent(work / one.name, source), 1, work / one.expected_mask) for one in pack.images]
        _write_job(work, source, items, digest, threads)
    return output


def _write_image(
    sample: Sample, group: str, source: ModelArtifact, session: Session, folder: Path
) -> tuple[GoldenImage, set[int]]:
    manifest = source.manifest
    tensor, _ = preprocess.apply(manifest.preprocess, sample.image, input_spec=manifest.inputs[0])
    mask = session.infer([tensor]).mask
    scores = score_output(manifest.outputs)
    logits = None
    if scores is not None:
        logits = digest_logits(session.outputs([tensor])[scores], manifest.outputs[scores], points=True)
    index = sum(1 for file in folder.iterdir() if file.name.startswith("input-"))
    if manifest.preprocess.color in ("rgb", "bgr") and sample.image.dtype == np.float32:
        raise InputError(
            f"{sample.name}: colours as floating-point numbers",
            cause="a pack holds pictures of 8 or 16 bits, or channels",
        )
    encoded, suffix = encode_image(sample.image)
    mask_png, _ = encode_image(mask[:, :, None])
    name, expected = f"input-{index}{suffix}", f"expected-{index}.png"
    (folder / name).write_bytes(encoded)
    (folder / expected).write_bytes(mask_png)
    image = GoldenImage(
        name=name,
        source=sample.name,
        image_sha256=hashlib.sha256(encoded).hexdigest(),
        width=sample.image.shape[1],
        height=sample.image.shape[0],
        group=group,
        expected_mask=expected,
        mask_sha256=hashlib.sha256(mask_png).hexdigest(),
        logits=logits,
    )
    return image, set(np.flatnonzero(np.bincount(mask.reshape(-1))).tolist())


def _as_sent(image: Path, source: ModelArtifact) -> Path | np.ndarray:
    """The phone's input: the picture, or the tensor if the phone's decoder cannot give the model's pixels."""
    contract = source.manifest.preprocess
    if contract.takes_bitmaps:
        return image
    return preprocess.apply(contract, decode_image(image, pixels=contract.pixels))[0]


def _write_header(pack: Pack, folder: Path) -> str:
    header = {"kind": KIND, "schema_version": SCHEMA_VERSION, **pack.model_dump(mode="json")}
    digest = digest_of(header)
    text = json.dumps({**header, "digest": digest}, indent=1, ensure_ascii=False, allow_nan=False)
    (folder / PACK_NAME).write_text(text + "\n", encoding="utf-8")
    return digest


def _write_job(folder: Path, source: ModelArtifact, items: list[JobItem], digest: str, threads: int) -> None:
    """Writes job.json and the files that it lists; with the model, if the pack was made from an export."""
    scratch = folder / "job"
    scratch.mkdir()
    target = target_of(source.manifest.format)
    if target is None or not target.packed:
        write_items(scratch, items, job_id=digest, threads=threads)
        (scratch / JOB_NAME).replace(folder / JOB_NAME)
    else:
        for file in write_job(scratch, source, items, job_id=digest, threads=threads):
            if not (folder / file.relative_to(scratch)).exists():
                (folder / file.relative_to(scratch)).parent.mkdir(parents=True, exist_ok=True)
                file.replace(folder / file.relative_to(scratch))
    shutil.rmtree(scratch)


def _tolerances() -> dict[Precision, Tolerance]:
    found = {}
    for precision in Precision:
        limits = limits_for(precision)
        found[precision] = Tolerance(
            agreement_min=limits.agreement_min,
            agreement_worst_image_min=limits.agreement_worst_image_min,
            agreement_class_min=limits.agreement_class_min,
            logits_max=LOGIT_TOLERANCES.get(precision),
        )
    return found


@contextmanager
def _place(output: Path) -> Iterator[Path]:
    """A folder that becomes `output`, or the zip of that name, if the block ends without an error."""
    if output.suffix != ".zip":
        with new_folder(output) as work:
            yield work
        return
    with tempfile.TemporaryDirectory() as scratch:
        yield Path(scratch)
        with whole_file(output, replace=False) as work:
            _zip(Path(scratch), work)


def _zip(folder: Path, output: Path) -> None:
    with zipfile.ZipFile(output, "w") as file:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                info = zipfile.ZipInfo(path.relative_to(folder).as_posix(), (1980, 1, 1, 0, 0, 0))
                file.writestr(info, path.read_bytes(), zipfile.ZIP_DEFLATED)
