"""Writes the README of a pack in an app's assets: the model's data, and code that runs it."""

from __future__ import annotations

from pathlib import Path

from segexport.artifact import Manifest
from segexport.files.atomic import write_file
from segexport.records.model_card import about

README_NAME = "README.md"

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
`LiteBackend` of `lite/`, `LiteRtBackend` of `litert/`, `MnnBackend` of `mnn/`, `NcnnBackend` of `ncnn/`.
"""


def write_pack_readme(folder: Path, manifest: Manifest) -> None:
    """Writes the README of a pack into its folder."""
    sample = _WITH_SAMPLE if manifest.sample is not None else _WITHOUT_SAMPLE
    backend = "JobRunner.backendFor(backends, manifest.format)"
    write_file(
        folder / README_NAME, _PACK.format(name=manifest.name, about=about(manifest), backend=backend, sample=sample)
    )
