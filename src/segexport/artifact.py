"""A model artifact: a folder with the model's files and a `manifest.json` that describes it completely."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import Field, SerializerFunctionWrapHandler, ValidationError, field_validator, model_serializer

from segexport.errors import (
    AlteredError,
    InputError,
    MissingInputError,
    TooLargeError,
    UnreadableError,
    VersionError,
    one_line,
)
from segexport.files.foreign import guarded
from segexport.files.json_reader import parse_json
from segexport.pipeline.entry_points import maker
from segexport.spec import (
    Format,
    Frozen,
    ImageStatistics,
    Label,
    Postprocess,
    Precision,
    Preprocess,
    TaskName,
    TensorSpec,
    Tiles,
)

MANIFEST_NAME = "manifest.json"
SCHEMA_VERSION = 1
TRAINING_STEPS = frozenset({"finetune", "qat"})
"""Steps that move weights towards labels or a teacher."""
MAX_MANIFEST_BYTES = 16 << 20
MAX_FILES = 10_000


class FileEntry(Frozen):
    """A file of the artifact. `role`: model, params, host_model (the x86 twin of an ARM file), sample, other."""

    path: str
    sha256: str
    size_bytes: int
    role: str = "model"

    @field_validator("path")
    @classmethod
    def _stays_inside(cls, value: str) -> str:
        path = PurePosixPath(value)
        if path.is_absolute() or ".." in path.parts or not value or "\\" in value:
            raise ValueError(f"a file of an artifact lies inside its folder, this one does not: {value!r}")
        return value


class LineageEntry(Frozen):
    """One step that made this artifact from its source. No clock and no path: two equal runs give equal bytes."""

    step: str
    version: str
    params: dict[str, Any] = Field(default_factory=dict)
    key: str = ""
    tools: dict[str, str] = Field(default_factory=dict)
    notes: tuple[str, ...] = ()  # rewrites that were applied, layers left in float, ...; some are `warning`s
    calibrated_on: ImageStatistics | None = None

    @model_serializer(mode="wrap")
    def _without_none(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Omits `calibrated_on` of steps without calibration."""
        content = handler(self)
        if self.calibrated_on is None:
            content.pop("calibrated_on", None)
        return content

    @property
    def warnings(self) -> tuple[str, ...]:
        """The notes that are warnings, without their mark."""
        return tuple(note.removeprefix(_WARNING) for note in self.notes if is_warning(note))


_WARNING = "warning: "


def warning(text: str) -> str:
    """A note that the command line shows as a warning: an assumption, or a result that differs from the original's."""
    return _WARNING + text


def is_warning(note: str) -> bool:
    return note.startswith(_WARNING)


class TargetDevice(Frozen):
    """The target machine of an export.

    Attributes:
        arch: any, arm64, armv7 or x86.
        hints: Session hints of the runtime that the export needs, by the runtime's own names: MNN's
            `WINOGRAD_MEMORY_LEVEL`.
    """

    arch: str
    precision: Precision
    min_runtime_version: str = ""
    hints: dict[str, int] = Field(default_factory=dict)

    @model_serializer(mode="wrap")
    def _without_empty(self, handler: SerializerFunctionWrapHandler):  # a return type would replace the JSON schema
        content = handler(self)
        if not self.hints:
            content.pop("hints", None)
        return content


class RuntimeLibrary(Frozen):
    """A special build of a runtime's library, for a model that the usual build does not run.

    Attributes:
        library: Name of the runtime: `paddle-lite`.
        build: Required build option: `fp16`.
    """

    library: str
    build: str


class SelfTest(Frozen):
    """The self-test of a model: an input image and its expected mask."""

    input: str
    expected_mask: str


class Manifest(Frozen):
    """Everything that Python, CI and the Android app need to run a model and to trace its origin."""

    schema_version: int = SCHEMA_VERSION
    name: str
    format: Format
    files: tuple[FileEntry, ...] = Field(min_length=1, max_length=MAX_FILES)
    inputs: tuple[TensorSpec, ...] = Field(min_length=1)
    outputs: tuple[TensorSpec, ...] = Field(min_length=1)
    preprocess: Preprocess
    postprocess: Postprocess | None = None
    labels: tuple[Label, ...] = Field(min_length=1)
    ignore_index: int = 255
    target: TargetDevice
    requires: RuntimeLibrary | None = None
    lineage: tuple[LineageEntry, ...] = ()
    sample: SelfTest | None = None

    @field_validator("files")
    @classmethod
    def _each_once(cls, files: tuple[FileEntry, ...]) -> tuple[FileEntry, ...]:
        paths = [entry.path for entry in files]
        if len(set(paths)) < len(paths):
            raise ValueError(f"{len(paths)} files, of which {len(set(paths))} differ")
        return files

    @property
    def num_classes(self) -> int:
        return len(self.labels)

    @property
    def task(self) -> TaskName:
        """The task, from the semantics of the outputs."""
        return "instance" if any(spec.semantics == "instance_masks" for spec in self.outputs) else "semantic"

    @property
    def image(self) -> TensorSpec:
        """The input for the image."""
        return next((spec for spec in self.inputs if spec.semantics == "image"), self.inputs[0])

    @property
    def is_trained(self) -> bool:
        """Whether a step has trained its weights, so that it intentionally differs from the original."""
        return any(entry.step in TRAINING_STEPS for entry in self.lineage)

    @property
    def warnings(self) -> tuple[str, ...]:
        """The warnings of all steps, each once."""
        return tuple(dict.fromkeys(text for entry in self.lineage for text in entry.warnings))

    @property
    def source_sha256(self) -> str:
        """Digest of the trained model's files, equal for all its exports; empty if not recorded.

        Fixed input sizes, labels and preprocessing do not change it.
        """
        files = self.lineage[0].params.get("files") if self.lineage else None
        return digest_of(files) if files else ""


@dataclass(frozen=True)
class ModelArtifact:
    """A manifest and the folder that it describes."""

    path: Path
    manifest: Manifest

    def __repr__(self) -> str:
        own = self.manifest
        kind = f"{own.format} {own.target.precision.value}, {own.num_classes} classes"
        return f"<{own.name}: {kind}, {self.size_bytes / 1e6:.1f} MB at {self.path}>"

    @property
    def digest(self) -> str:
        """sha256 over the files' digests and the parts of the manifest that affect the model's results."""
        return digest_of(self.manifest.model_dump(mode="json", include=_IDENTITY))

    def with_postprocess(self, rule: Postprocess | None) -> ModelArtifact:
        """A copy with another postprocess; None: that of the manifest."""
        if rule is None:
            return self
        return replace(self, manifest=self.manifest.model_copy(update={"postprocess": rule}))

    def with_tiles(self, tiles: Tiles | None) -> ModelArtifact:
        """A copy with other tiles; None: those of the manifest."""
        if tiles is None:
            return self
        contract = self.manifest.preprocess.with_tiles(tiles)
        return replace(self, manifest=self.manifest.model_copy(update={"preprocess": contract}))

    def file(self, role: str) -> Path:
        """The path of the file with this role.

        Raises:
            InputError: The artifact has no such file.
        """
        for entry in self.manifest.files:
            if entry.role == role:
                return self.path / entry.path
        raise InputError(
            f"{self.path}: this {self.manifest.format} artifact has no file with the role {role!r}",
            cause=f"its roles are {sorted({entry.role for entry in self.manifest.files})}",
        )

    @property
    def size_bytes(self) -> int:
        """Size of the shipped files: the model and its parameters, without the check's twin and the samples."""
        return sum(entry.size_bytes for entry in self.manifest.files if entry.role in ("model", "params"))


_IDENTITY = {"format", "files", "inputs", "outputs", "preprocess", "labels", "ignore_index", "target"}


def digest_of(value: Any) -> str:
    """sha256 (hex) of a JSON value, independent of key order."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def file_digest(path: Path) -> str:
    """sha256 (hex) of a file's bytes, read in blocks."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def file_entry(root: Path, path: str, role: str = "model") -> FileEntry:
    """Describes the current file `root / path`."""
    full = root / path
    return FileEntry(path=path, sha256=file_digest(full), size_bytes=full.stat().st_size, role=role)


def write_artifact(root: Path, manifest: Manifest) -> ModelArtifact:
    """Writes `manifest.json` into `root`; its files must exist."""
    text = json.dumps(manifest.model_dump(mode="json"), indent=2, ensure_ascii=False) + "\n"
    (root / MANIFEST_NAME).write_text(text, encoding="utf-8")
    return ModelArtifact(root, manifest)


def parse_manifest(text: bytes, file: object) -> Manifest:
    """Reads the bytes of a manifest.json; `file` names it in errors.

    Raises:
        InputError: The text is not JSON, has another schema version, or is not a valid manifest.
    """
    try:
        raw = parse_json(text)
    except ValueError as error:
        raise UnreadableError(f"{file}: not JSON", cause=str(error)) from error
    version = raw.get("schema_version") if isinstance(raw, dict) else None
    if version != SCHEMA_VERSION:
        raise VersionError(
            f"{file}: schema_version is {version!r}, this segexport reads {SCHEMA_VERSION}",
            hint="make the artifact again with this version of segexport",
        )
    try:
        return Manifest.model_validate(raw)
    except ValidationError as error:
        raise UnreadableError(f"{file}: not a valid manifest", cause=one_line(error)) from error


@guarded("an artifact")
def read_artifact(path: Path, *, verify: bool = True) -> ModelArtifact:
    """Reads a folder with a manifest and, with `verify`, compares every file with its recorded digest.

    Args:
        path: The folder, or a file in it.

    Raises:
        InputError: The manifest is missing or invalid, a file is missing or changed, or an ONNX model reads its
            weights from a file that the manifest does not list.
    """
    if path.is_file() and path.with_name(MANIFEST_NAME).is_file():
        path = path.parent
    file = path / MANIFEST_NAME
    if not file.is_file():
        raise UnreadableError(
            f"{path}: not an artifact",
            cause=f"there is no {MANIFEST_NAME} in it",
            hint=f"a PaddleSeg or PaddleX export becomes one with `segexport import {path} -o DIR`",
        )
    with file.open("rb") as stream:
        text = stream.read(MAX_MANIFEST_BYTES + 1)
    if len(text) > MAX_MANIFEST_BYTES:
        raise TooLargeError(f"{file}: over {MAX_MANIFEST_BYTES >> 20} MiB", cause="this is not a manifest")
    manifest = parse_manifest(text, file)
    if verify:
        for entry in manifest.files:
            _verify(path, entry)
        if (target := maker(manifest.format)) is not None:
            target.verify(path, manifest)
    return ModelArtifact(path, manifest)


def _verify(root: Path, entry: FileEntry) -> None:
    file = root / entry.path
    if not file.is_file():
        raise MissingInputError(f"{file}: missing", cause=f"{MANIFEST_NAME} lists it")
    size = file.stat().st_size
    if size != entry.size_bytes or file_digest(file) != entry.sha256:
        raise AlteredError(
            f"{file}: not the file that {MANIFEST_NAME} describes",
            cause=f"{size} bytes here, {entry.size_bytes} recorded, or another sha256",
            hint="make the artifact again; it was edited or damaged after it was written",
        )
