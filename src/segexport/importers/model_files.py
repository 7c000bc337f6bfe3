"""Finds the model in a folder: exports of PaddleSeg and PaddleX, old and new, and artifacts."""

from __future__ import annotations

from pathlib import Path

from segexport.artifact import MANIFEST_NAME, read_artifact
from segexport.errors import InputError, MissingInputError, ModelSettingsError, UnreadableError
from segexport.files.foreign import guarded
from segexport.pipeline.entry_points import instances
from segexport.spec import Frozen

CONFIG_NAMES = (
    "deploy.yaml", "deploy.yml", "inference.yml", "inference.yaml", "infer_cfg.yml", "model.yml", "model.yaml",
)  # fmt: skip
_CHECKPOINT_SUFFIXES = (".pdparams", ".pdopt", ".pdstates", ".pdema")
_PARAMS_OF = {"__model__": "__params__", "model": "params"}  # programs without a suffix: PaddleX 1, PaddleSeg 0
_MODEL_OF = {params: model for model, params in _PARAMS_OF.items()}
_ARCHIVE_SUFFIXES = (".tar", ".gz", ".tgz", ".zip")
_EXPORT_HINT = (
    "export it first: PaddleSeg `python tools/export.py --config CONFIG --model_path model.pdparams --save_dir DIR`, "
    "PaddleX 1 and 2 `paddlex --export_inference --model_dir=MODEL --save_dir=DIR`"
)
_CHECKPOINT_HINT = (
    "of PaddleSeg: import it with the configuration that it was trained with, `segexport import FILE --config CONFIG "
    "-o DIR`; of PaddleX 1 and 2: export it first, `paddlex --export_inference --model_dir=MODEL --save_dir=DIR`"
)


class ModelFiles(Frozen):
    """The files of one model.

    Attributes:
        kind: `paddle`: a legacy program. `paddle-pir`: a program of Paddle 3 (`.json`). `artifact`: a folder with a
            `manifest.json` that describes the model. Otherwise the name of a target.
        folder: Folder of the files.
        model: The program, or the manifest of an artifact.
        params: The parameters, if they are in a separate file.
        config: `deploy.yaml`, `inference.yml` or `model.yml`, if there is one.
    """

    kind: str
    folder: Path
    model: Path
    params: Path | None = None
    config: Path | None = None


@guarded("a model")
def find_model(path: Path) -> ModelFiles:
    """Finds the model in a folder, or the model of which `path` is a file.

    Raises:
        InputError: `path` does not exist, has no model or several, is a training checkpoint, or has no parameters.
    """
    if not path.exists():
        raise MissingInputError(f"{path}: no such file or folder")
    if path.is_file():
        return _artifact_of(path) or _from_file(path)
    if (path / MANIFEST_NAME).is_file():
        return ModelFiles(kind="artifact", folder=path, model=path / MANIFEST_NAME)
    candidates = _candidates(path)
    if len(candidates) != 1:
        named = _named_by_config(path)[0]
        if named is not None and named.is_file():
            return _describe(named)
        if candidates:
            raise ModelSettingsError(
                f"{path}: {len(candidates)} models: {', '.join(file.name for file in candidates)}",
                hint=f"name the one that you mean: {candidates[0]}",
            )
        raise _no_model(path)
    return _describe(candidates[0])


def _artifact_of(path: Path) -> ModelFiles | None:
    """The artifact that contains a file: its manifest describes the model better than the file alone."""
    manifest = path.with_name(MANIFEST_NAME)
    if not manifest.is_file() or path == manifest:
        return None
    listed = {entry.path for entry in read_artifact(path.parent, verify=False).manifest.files}
    return ModelFiles(kind="artifact", folder=path.parent, model=manifest) if path.name in listed else None


def _from_file(path: Path) -> ModelFiles:
    suffix = path.suffix.lower()
    if path.name == MANIFEST_NAME:
        return ModelFiles(kind="artifact", folder=path.parent, model=path)
    if suffix in _CHECKPOINT_SUFFIXES:
        raise UnreadableError(
            f"{path}: a training checkpoint, not an export",
            cause="it contains weights without the network that uses them",
            hint=_CHECKPOINT_HINT,
        )
    if suffix == ".pdiparams" or path.name in _PARAMS_OF.values():
        model = path.with_suffix(".pdmodel") if suffix else path.with_name(_MODEL_OF[path.name])
        if not model.is_file():
            pir = path.with_suffix(".json")
            if not (suffix and pir.is_file()):
                raise MissingInputError(
                    f"{path}: parameters without their program", cause=f"{model.name} is not beside it"
                )
            model = pir
        return _describe(model)
    if path.name in CONFIG_NAMES:
        return find_model(path.parent)
    if suffix in _ARCHIVE_SUFFIXES:
        raise UnreadableError(f"{path}: an archive", hint="unpack it, and give the folder")
    if _kind(path) is None and path != _named_by_config(path.parent)[0]:
        suffixes = ", ".join(target.suffix for target in instances("target").values() if target.suffix)
        raise UnreadableError(
            f"{path}: not a supported model",
            cause=f"supported are .pdmodel, __model__, Paddle 3's .json, {suffixes}, and folders with one of them",
        )
    return _describe(path)


def _candidates(folder: Path) -> list[Path]:
    """The programs in a folder. A `.json` with the name of a `.pdmodel` is the same program, and is left out."""
    files = sorted(file for file in folder.iterdir() if file.is_file() and _kind(file) is not None and _is_whole(file))
    return [file for file in files if not (file.suffix.lower() == ".json" and file.with_suffix(".pdmodel").is_file())]


def _kind(path: Path) -> str | None:
    suffix = path.suffix.lower()
    if suffix == ".pdmodel" or path.name == "__model__":
        return "paddle"
    if path.name in _PARAMS_OF and path.with_name(_PARAMS_OF[path.name]).is_file():
        return "paddle"
    if suffix == ".json" and _is_pir(path):
        return "paddle-pir"
    return next((target.name for target in instances("target").values() if suffix and suffix == target.suffix), None)


def _is_whole(path: Path) -> bool:
    """Whether the format's second file exists, if it has one; an `.xml` without its weights is no model."""
    beside = next(
        (target.beside for target in instances("target").values() if target.suffix == path.suffix.lower()), ""
    )
    return not beside or path.with_suffix(beside).is_file()


def _is_pir(path: Path) -> bool:
    """Whether a JSON file is a program of Paddle 3, which begins with `{"base_code":{"magic":"pir",`."""
    with path.open("rb") as stream:
        return b'"magic":"pir"' in stream.read(256).replace(b" ", b"").replace(b"\n", b"")


def _named_by_config(folder: Path) -> tuple[Path | None, Path | None]:
    """The program and the parameters named in a deploy.yaml of PaddleSeg 2 or 0; PaddleX's files name none."""
    config = _config(folder)
    if config is None or config.name.startswith("model."):
        return None, None
    from segexport.files.yaml_reader import read_yaml

    content = read_yaml(config)
    content = content if isinstance(content, dict) else {}
    found = []
    for new, old in (("model", "MODEL_FILENAME"), ("params", "PARAMS_FILENAME")):
        parts = [(content.get("Deploy"), new), (content.get("DEPLOY"), old)]
        names = [part.get(key) for part, key in parts if isinstance(part, dict)]
        name = next((name for name in names if isinstance(name, str) and name and Path(name).name == name), None)
        found.append(None if name is None else folder / name)
    return found[0], found[1]


def _describe(model: Path) -> ModelFiles:
    named, params_named = _named_by_config(model.parent) if _kind(model) in (None, "paddle") else (None, None)
    kind = _kind(model) or ("paddle" if model == named else None)
    if kind is None:
        raise UnreadableError(f"{model}: not a model", cause="a .json model of Paddle 3 begins with its magic word")
    if model.stat().st_size == 0:
        raise UnreadableError(f"{model}: the file is empty", cause="a copy or a download that did not finish")
    if kind not in ("paddle", "paddle-pir"):
        return ModelFiles(kind=kind, folder=model.parent, model=model)
    params = model.with_suffix(".pdiparams") if model.suffix else model.with_name(_PARAMS_OF.get(model.name, "params"))
    if not params.is_file() and model == named and params_named is not None:
        params = params_named
    if not params.is_file():
        raise MissingInputError(
            f"{model}: a program without its parameters", cause=f"{params.name} is not beside it", hint=_EXPORT_HINT
        )
    return ModelFiles(kind=kind, folder=model.parent, model=model, params=params, config=_config(model.parent))


def _config(folder: Path) -> Path | None:
    return next((folder / name for name in CONFIG_NAMES if (folder / name).is_file()), None)


def _no_model(folder: Path) -> InputError:
    """The error for a folder without a model; names its content."""
    names = sorted(file.name for file in folder.iterdir())
    below = sorted(child.name for child in folder.iterdir() if child.is_dir() and _has_model(child))
    if below:
        return MissingInputError(
            f"{folder}: no model in the folder itself",
            cause=f"there is one in {', '.join(below)}",
            hint=f"give {folder / below[0]}",
        )
    checkpoints = [name for name in names if name.endswith(_CHECKPOINT_SUFFIXES)]
    if checkpoints:
        return UnreadableError(
            f"{folder}: a training checkpoint ({checkpoints[0]}), not an export",
            cause="it contains weights without the network that uses them",
            hint=_CHECKPOINT_HINT,
        )
    holds = f"it contains {', '.join(names[:8])}{', ...' if len(names) > 8 else ''}" if names else "it is empty"
    return MissingInputError(
        f"{folder}: no model", cause=holds, hint="a model is, for example, model.pdmodel with model.pdiparams"
    )


def _has_model(folder: Path) -> bool:
    try:
        return (folder / MANIFEST_NAME).is_file() or bool(_candidates(folder))
    except OSError:
        return False
