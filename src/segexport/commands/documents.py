"""The JSON documents of `--format json`, of commands whose result is no report, diagnosis or other published file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import Field, RootModel

from segexport.artifact import Manifest, ModelArtifact
from segexport.exporter.inspect import Inspection
from segexport.files.shared_store import SharedOutput
from segexport.files.store import StoreEntry
from segexport.spec import Frozen
from segexport.ui.error_document import ErrorDetail
from segexport.verdict import Verdict


class AnyDocument(RootModel[dict[str, Any]]):
    """A JSON object whose form is described elsewhere, such as a JSON schema."""


class ArtifactDocument(Frozen):
    """A model that was imported, exported or trained, or an export that was inspected.

    Attributes:
        path: Its folder.
        size_bytes: Size of the files that are shipped.
        manifest: The content of its manifest.json.
    """

    path: str
    size_bytes: int
    manifest: Manifest

    @classmethod
    def of(cls, artifact: ModelArtifact, path: Path | None = None) -> ArtifactDocument:
        shown = artifact.path if path is None else path
        return cls(path=str(shown), size_bytes=artifact.size_bytes, manifest=artifact.manifest)


class ProgramDocument(Inspection):
    """A Paddle model that was inspected: operators, costs, and which targets support it.

    Attributes:
        mask_candidates: Outputs from which a mask can be computed.
    """

    path: str
    size_bytes: int
    manifest: Manifest
    mask_candidates: tuple[str, ...] = ()


class RecipeRunDocument(Frozen):
    """One recipe of several; `error` is empty if there is a report in `output`."""

    recipe: str
    output: str
    verdict: Verdict
    error: str = ""


class RecipeRunsDocument(Frozen):
    """Several recipes that were run; `verdict` is the worst of theirs."""

    verdict: Verdict
    recipes: tuple[RecipeRunDocument, ...]


class FileDocument(Frozen):
    """A file that was written.

    Attributes:
        summary: What is in it, in one line.
    """

    path: str
    size_bytes: int
    summary: str = ""

    @classmethod
    def of(cls, path: Path, summary: str = "") -> FileDocument:
        """The document of a file, or of a folder with all its files."""
        files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
        return cls(path=str(path), size_bytes=sum(file.stat().st_size for file in files), summary=summary)


class FilesDocument(Frozen):
    """Files that were written."""

    files: tuple[FileDocument, ...]


class FoldersDocument(Frozen):
    """Folders that were written."""

    folders: tuple[str, ...]


class RecipeDocument(Frozen):
    """A recipe that was written or is valid; `exports`: the names of its exports."""

    path: str
    exports: tuple[str, ...]


class ConvertedDocument(Frozen):
    """A data set that was converted.

    Attributes:
        form: The form of the source.
        labels: Class names in the order of the ids.
        counts: Split -> number of images.
        notes: Warnings about the conversion.
    """

    path: str
    form: str
    labels: tuple[str, ...]
    counts: dict[str, int]
    notes: tuple[str, ...] = ()


class SplitDocument(Frozen):
    """A data set that was split; `counts`: list -> number of images."""

    path: str
    counts: dict[str, int]


class SegmentedImage(Frozen):
    """The result of one image, or of one video.

    Attributes:
        input_path: The image, as it was given.
        width, height: Size of the image or of the frames, in pixels.
        summary: The result in words.
        shares: Class -> fraction of the pixels; of a model that gives classes.
        objects: Class, score and box of each object; of a model that finds objects.
        frames: Number of frames of a video; null for an image.
        saved: The picture or video; null if nothing was saved.
    """

    input_path: str
    width: int
    height: int
    summary: str
    shares: dict[str, float] = Field(default_factory=dict)
    objects: tuple[dict[str, Any], ...] = ()
    frames: int | None = None
    saved: str | None = None


class PredictionDocument(Frozen):
    """The results of all inputs, in their order."""

    results: tuple[SegmentedImage, ...]


class TextDocument(Frozen):
    """A text that the command prints, such as a YAML file."""

    text: str


class ServerDocument(Frozen):
    """A server that accepts requests; it is printed when the server has started, which then goes on.

    Attributes:
        model: Name of the model.
        url: Where requests are posted to.
    """

    model: str
    url: str


class CommentDocument(Frozen):
    """A comment that was written; `url`: null if the job belongs to no request."""

    url: str | None


class BaselineDocument(Frozen):
    """The report to compare with; `path`: null if no run has passed yet."""

    path: str | None


class RemovedDocument(Frozen):
    """What was removed.

    Attributes:
        removed, freed_bytes: Number of entries, and their size.
        leftovers: Number of files of uploads that were killed.
        in_use: Number of entries that stay because somebody uses them.
        dry_run: Nothing was removed: this would be.
    """

    removed: int
    freed_bytes: int
    leftovers: int = 0
    in_use: int = 0
    dry_run: bool = False


class CachedOutput(Frozen):
    """An output of an earlier run; `used`: time of its last use, in seconds since 1970."""

    key: str
    size_bytes: int
    used: float


class CacheDocument(Frozen):
    """All outputs in the local cache, or in the shared store."""

    shared: bool
    size_bytes: int
    outputs: tuple[CachedOutput, ...]

    @classmethod
    def of(cls, entries: Sequence[StoreEntry | SharedOutput], *, shared: bool) -> CacheDocument:
        return cls(
            shared=shared,
            size_bytes=sum(entry.size_bytes for entry in entries),
            outputs=tuple(CachedOutput(key=one.key, size_bytes=one.size_bytes, used=one.used) for one in entries),
        )


class InstalledDocument(Frozen):
    """Toolchains after an installation.

    Attributes:
        messages: What was done, one line each.
        failed: Toolchain -> its error; the exit code is then 2.
    """

    messages: tuple[str, ...]
    failed: dict[str, ErrorDetail] = Field(default_factory=dict)
