"""Finds faults of an app (an APK, an AAR or a folder) that show in a store or on a phone, without running it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from segexport.android.app_manifest import permissions
from segexport.android.elf import ABIS, SharedLibrary, read_elf
from segexport.android.package import AppPackage, open_package
from segexport.artifact import MANIFEST_NAME, Manifest, parse_manifest
from segexport.errors import InputError, UnreadableError
from segexport.exporter.targets.nb_kernels import nb_kernels, nb_version
from segexport.exporter.to_paddle_lite import FP16_BUILD
from segexport.spec import Format
from segexport.verdict import Check, Verdict, overall

PAGE_BYTES = 16 << 10
"""Size of a memory page on phones with Android 15 and later; libraries of 64 bits have to be aligned to it."""
MAX_SIZE_BYTES = 200_000_000
"""Google Play's limit for an app's download without asset packs."""
_BROAD = ("READ_EXTERNAL_STORAGE", "WRITE_EXTERNAL_STORAGE", "MANAGE_EXTERNAL_STORAGE")
_LIBRARY = {
    Format.PADDLE_LITE: re.compile(r"^libpaddle_li.*\.so$"),
    Format.ONNX: re.compile(r"^libonnxruntime\.so$"),
    Format.MNN: re.compile(r"^libMNN\.so$"),
    Format.NCNN: re.compile(r"^libsegexport_ncnn\.so$"),
}
_VERSION = {
    Format.PADDLE_LITE: re.compile(rb"\0v(\d+\.\d+(?:\.\d+)?(?:-[a-z]+\d*)?)\0"),
    Format.ONNX: re.compile(rb"\0VERS_(\d+\.\d+\.\d+)\0"),
}
_NAMED = 5  # findings of one check in a message


@dataclass(frozen=True)
class AppLint:
    """The result for one app.

    Attributes:
        path: Path as given.
        checks: One check per rule, in order.
    """

    path: str
    size_bytes: int
    checks: tuple[Check, ...]

    @property
    def verdict(self) -> Verdict:
        """The worst of the gated checks."""
        return overall(check.verdict for check in self.checks if check.gated)


@dataclass(frozen=True)
class _Library:
    """A file named like a shared library; if it is none, `elf` is None and `fault` gives the reason."""

    name: str
    folder_abi: str
    data: bytes
    elf: SharedLibrary | None
    fault: str
    offset: int | None

    @property
    def file(self) -> str:
        return PurePosixPath(self.name).name


@dataclass(frozen=True)
class _PackedModel:
    """A folder with a manifest, as written by `segexport android assets`."""

    folder: str
    manifest: Manifest

    def member(self, path: str) -> str:
        return f"{self.folder}/{path}" if self.folder else path


@dataclass(frozen=True)
class _App:
    package: AppPackage
    libraries: tuple[_Library, ...]
    packs: tuple[_PackedModel, ...]
    broken: tuple[str, ...]  # manifests that cannot be read, and why
    builds: Collection[str]
    is_app: bool  # an APK holds all that runs; an AAR or a folder may rely on others


def lint(path: Path, *, builds: Collection[str] = ()) -> AppLint:
    """Examines an APK, an AAR, or a folder: assets, native libraries, an unpacked app.

    Args:
        builds: Additional build options of the app's Paddle-Lite library: `fp16`.

    Raises:
        InputError: The app cannot be read, or has neither a model, nor a library, nor an AndroidManifest.xml.
    """
    with open_package(path) as package:
        libraries = tuple(_libraries(package))
        packs, broken = _packs(package)
        loose = [name for name in package.names if name.endswith(".nb")]
        if not (libraries or packs or broken or loose or any(map(_is_app_manifest, package.names))):
            raise UnreadableError(
                f"{path}: nothing of an app is in it",
                cause="there is no shared library, no model with a manifest.json, and no AndroidManifest.xml",
            )
        app = _App(package, libraries, packs, broken, builds, path.suffix.lower() == ".apk")
        return AppLint(str(path), package.size_bytes, tuple(rule(app) for rule in _RULES))


def _libraries(package: AppPackage) -> Iterator[_Library]:
    for name in package.names:
        folder = PurePosixPath(name).parent.name
        if name.endswith(".so") and folder in ABIS:
            data, elf, fault = package.read(name), None, ""
            try:
                elf = read_elf(data, name)
            except InputError as error:
                fault = f"{error.what} ({error.cause})"
            yield _Library(name, folder, data, elf, fault, package.offset(name))


def _packs(package: AppPackage) -> tuple[tuple[_PackedModel, ...], tuple[str, ...]]:
    """Returns the models, and the faults of unreadable manifests. Ignores manifest.json files of other programs."""
    packs, broken = [], []
    for name in package.names:
        if PurePosixPath(name).name == MANIFEST_NAME and b'"preprocess"' in (data := package.read(name)):
            folder = PurePosixPath(name).parent.as_posix()
            try:
                packs.append(_PackedModel("" if folder == "." else folder, parse_manifest(data, name)))
            except InputError as error:
                broken.append(f"{error.what}: {error.cause}" if error.cause else error.what)
    return tuple(packs), tuple(broken)


def _is_app_manifest(name: str) -> bool:
    return PurePosixPath(name).name == "AndroidManifest.xml"


# -- the rules -------------------------------------------------------------------------------------------------


def _pages(app: _App) -> Check:
    """Android 15 and later may have pages of 16 KB, and Google Play refuses apps that cannot run on them."""
    name = "elf.pages"
    wide = [one for one in app.libraries if one.elf is None or one.elf.bits == 64]
    faults = [one.fault for one in wide if one.elf is None]
    for one in wide:
        if one.elf is not None and (narrow := [each for each in one.elf.alignments if each % PAGE_BYTES or not each]):
            faults.append(f"{one.name} has a segment aligned to {min(narrow):,} bytes")
        if one.offset is not None and one.offset % PAGE_BYTES:
            faults.append(f"{one.name} starts at byte {one.offset:,} of the archive: run zipalign -P 16")
    if not wide and not faults:
        return _skipped(name, "there is no library of 64 bits")
    return _judged(name, faults, f"{len(wide)} libraries of 64 bits are aligned to {PAGE_BYTES:,} bytes")


def _abis(app: _App) -> Check:
    """A phone loads the libraries of one ABI, so each needs all of them, built for it."""
    name = "abi.complete"
    if not app.libraries:
        return _skipped(name, "there is no shared library")
    by_abi: dict[str, set[str]] = {}
    faults = []
    for one in app.libraries:
        by_abi.setdefault(one.folder_abi, set()).add(one.file)
        if one.elf is not None and one.elf.abi != one.folder_abi:
            faults.append(f"{one.name} was built for {one.elf.abi}")
    every = set().union(*by_abi.values())
    for abi, files in sorted(by_abi.items()):
        faults += [f"{abi} lacks {file}" for file in sorted(every - files)]
    if "arm64-v8a" not in by_abi:
        faults.append("there is no arm64-v8a, which phones have and Google Play asks for")
    return _judged(name, faults, f"{', '.join(sorted(by_abi))}: {len(every)} libraries each")


def _model_files(app: _App) -> Check:
    """Every file in a manifest exists and is unchanged."""
    name, faults, count = "model.digests", list(app.broken), 0
    for pack in app.packs:
        for entry in pack.manifest.files:
            member = pack.member(entry.path)
            count += 1
            if member not in app.package.names:
                faults.append(f"{member} is missing")
            elif hashlib.sha256(app.package.read(member)).hexdigest() != entry.sha256:
                faults.append(f"{member} is not the file that its manifest names: another sha256")
    if not app.packs and not faults:
        return _skipped(name, "there is no model with a manifest.json")
    return _judged(name, faults, f"{count} files of {len(app.packs)} models have the digests of their manifests")


def _runtime_library(app: _App) -> Check:
    """The library for each model exists in the version that the model needs."""
    name, faults, told = "model.library", [], []
    formats = {pack.manifest.format for pack in app.packs} | ({Format.PADDLE_LITE} if _nb_files(app) else set())
    for format in sorted(formats & set(_LIBRARY)):
        found = [one for one in app.libraries if _LIBRARY[format].match(one.file)]
        if not found:
            missing = f"no library that runs {format}"
            (faults if app.is_app else told).append(missing)
        for one in found:
            pattern = _VERSION.get(format)
            version = next((match[1].decode() for match in pattern.finditer(one.data)), "") if pattern else ""
            if not version:
                told.append(f"the version of {one.name} is unknown")
                continue
            told.append(f"{one.name} is {version}")
            if format == Format.ONNX:
                faults += _too_old(app, one, version)
            else:
                faults += [
                    f"{member} was written by Paddle-Lite {written}, {one.name} is {version}"
                    for member in _nb_files(app)
                    if (written := nb_version(app.package.read(member))) and written != version
                ]
    if not formats & set(_LIBRARY):
        return _skipped(name, "there is no model that needs a library")
    return _judged(name, faults, "; ".join(told))


def _too_old(app: _App, library: _Library, version: str) -> list[str]:
    return [
        f"{pack.folder} needs ONNX Runtime {needed}, {library.name} is {version}"
        for pack in app.packs
        if pack.manifest.format == Format.ONNX
        and (needed := pack.manifest.target.min_runtime_version)
        and _numbers(version) < _numbers(needed)
    ]


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version))


def _nb_files(app: _App) -> list[str]:
    return [name for name in app.package.names if name.endswith(".nb")]


def _nb_build(app: _App) -> Check:
    """A `.nb` has kernels for ARM, and no fp16 ones unless the library has them: that would end the app's process."""
    name, faults, files = "nb.build", [], _nb_files(app)
    if not files:
        return _skipped(name, "there is no .nb")
    for member in files:
        data = app.package.read(member)
        try:
            kernels = nb_kernels(data, member)
        except InputError as error:
            faults.append(f"{error.what}: {error.cause}")
            continue
        if not nb_version(data):
            faults.append(f"{member} does not say which Paddle-Lite wrote it")
        if places := {one.provider for one in kernels} & {"x86", "cuda"}:
            faults.append(f"{member} has kernels for {', '.join(sorted(places))}, which no phone runs")
        if any(one.precision == "fp16" for one in kernels) and FP16_BUILD not in app.builds:
            faults.append(
                f"{member} has fp16 kernels: the usual library ends the process on them; if yours was built with "
                f"--with_arm82_fp16=ON, say --library-build {FP16_BUILD}"
            )
    return _judged(name, faults, f"the kernels of {len(files)} .nb are for ARM, and the library has them")


def _int64(app: _App) -> Check:
    """Paddle-Lite's Java API returns any tensor as any type: an int64 mask is easily read as another type."""
    name, faults, told = "output.int64", [], []
    for pack in app.packs:
        for spec in pack.manifest.outputs:
            if spec.dtype == "int64":
                text = f"{pack.folder}: {spec.name} is int64, 8 bytes for each pixel"
                (faults if pack.manifest.format == Format.PADDLE_LITE else told).append(text)
    if not app.packs:
        return _skipped(name, "there is no model with a manifest.json")
    check = _judged(name, faults or told, "no output is int64", hint="export with --head argmax")
    return check if faults else check.model_copy(update={"gated": False})


def _permissions(app: _App) -> Check:
    """Segmentation needs no access to all files of a phone: the system's photo picker needs no permission at all."""
    name = "permissions"
    manifests = [each for each in app.package.names if _is_app_manifest(each)]
    if not manifests:
        return _skipped(name, "there is no AndroidManifest.xml")
    asked = [one for each in manifests for one in permissions(app.package.read(each), each)]
    faults = [f"{one} opens all files of the phone" for one in asked if one.split(".")[-1] in _BROAD]
    return _judged(name, faults, f"asks for {', '.join(dict.fromkeys(asked)) or 'none'}")


def _size(app: _App) -> Check:
    size = app.package.size_bytes
    faults = [f"{size:,} bytes, over the {MAX_SIZE_BYTES:,} of a store"] if size > MAX_SIZE_BYTES else []
    check = _judged("size", faults, f"{size:,} bytes")
    return check.model_copy(update={"value": float(size), "limit": float(MAX_SIZE_BYTES)})


_RULES: tuple[Callable[[_App], Check], ...] = (
    _pages,
    _abis,
    _model_files,
    _runtime_library,
    _nb_build,
    _int64,
    _permissions,
    _size,
)


def _judged(name: str, faults: list[str], good: str, *, hint: str = "") -> Check:
    if not faults:
        return Check(name=name, verdict=Verdict.PASS, message=f"{good}.")
    more = f"; and {len(faults) - _NAMED} more" if len(faults) > _NAMED else ""
    message = "; ".join(faults[:_NAMED]) + more + (f"; {hint}" if hint else "")
    return Check(name=name, verdict=Verdict.FAIL, message=f"{message}.", details={"faults": faults})


def _skipped(name: str, why: str) -> Check:
    return Check(name=name, verdict=Verdict.SKIPPED, message=f"{why}.", gated=False)
