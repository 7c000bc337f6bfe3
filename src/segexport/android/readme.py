"""Writes the README of an export, or of a pack in an app's assets: the model's data, and code that runs it."""

from __future__ import annotations

from pathlib import Path

from segexport.artifact import Manifest
from segexport.files.atomic import write_file
from segexport.pipeline.registry import target_of
from segexport.spec import TensorSpec

README_NAME = "README.md"
_CLASSES_SHOWN = 40

_EXPORT = """# {name}

{about}

## Run it

```sh
segexport predict . photo.jpg -o pictures
```

```python
import segexport

with segexport.load(".") as model:
    for result in model.predict("photo.jpg"):
        result.save_to_img("pictures")
```

`manifest.json` says how an image becomes the input, for any other program.{android}
"""
_FOR_ANDROID = """

## On Android

`segexport android assets . -o app/src/main/assets/model` writes it for an app, with the code that runs it there."""

_WITH_SAMPLE = "`sample.png` (or `sample.f32`) and `sample-mask.png` are the app's self-test."
_WITHOUT_SAMPLE = (
    "It has no sample for the app's self-test: `segexport android assets EXPORT --sample photo.jpg` adds one."
)

_PACK = """# {name}

{about}

`labels.txt` and `palette.txt` have a line for each class. {sample}

## Run it

```java
// `pack` is this folder of the assets; the app's AssetPack and core/'s Pack show how it is opened.
Manifest manifest = Packs.manifest(pack);
File model = Packs.install(pack, manifest, cacheDir);    // copied once, its digest checked
Backend backend = {backend};
try (Segmenter segmenter = Segmenter.open(backend, model, manifest, 4)) {{
    Segmentation answer = segmenter.segment(pixels);     // waits: call it from a worker thread
    Mask mask = Postprocess.restore(answer.mask, answer.placement);
    int[] shown = Overlay.blend(argb, mask, Overlay.palette(manifest), 128);
}}
```

`JobRunner.backendFor` takes the backend of a format among those that the app is built with: `OrtBackend` of `ort/`,
`LiteBackend` of `lite/`, `LiteRtBackend` of `litert/`.
"""


def write_export_readme(folder: Path, manifest: Manifest) -> None:
    """Writes the README of an export into its folder."""
    target = target_of(manifest.format)
    android = _FOR_ANDROID if target is not None and target.packed else ""
    write_file(folder / README_NAME, _EXPORT.format(name=manifest.name, about=_about(manifest), android=android))


def write_pack_readme(folder: Path, manifest: Manifest) -> None:
    """Writes the README of a pack into its folder."""
    sample = _WITH_SAMPLE if manifest.sample is not None else _WITHOUT_SAMPLE
    backend = "JobRunner.backendFor(backends, manifest.format)"
    write_file(
        folder / README_NAME, _PACK.format(name=manifest.name, about=_about(manifest), backend=backend, sample=sample)
    )


def _about(manifest: Manifest) -> str:
    target = target_of(manifest.format)
    title = target.title if target is not None else str(manifest.format)
    size = sum(entry.size_bytes for entry in manifest.files if entry.role in ("model", "params"))
    names = [label.name for label in manifest.labels]
    left = len(names) - _CLASSES_SHOWN
    rows = [
        ("format", f"{title}, {manifest.target.precision.value}, for {manifest.target.arch}, {size:,} bytes"),
        *(("input", _tensor(spec)) for spec in manifest.inputs),
        *(("output", _tensor(spec)) for spec in manifest.outputs),
        (f"{len(names)} classes", ", ".join(names[:_CLASSES_SHOWN]) + (f", and {left} more" if left > 0 else "")),
        *(("warning", text) for text in manifest.warnings),
    ]
    return "\n".join(("| | |", "|---|---|", *(f"| {name} | {_cell(text)} |" for name, text in rows)))


def _tensor(spec: TensorSpec) -> str:
    shape = "x".join("?" if size < 0 else str(size) for size in spec.shape)
    return f"{spec.name}: {spec.dtype} {shape}, {spec.semantics}"


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())
