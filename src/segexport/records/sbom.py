"""A bill of materials of a folder: its models, and the pinned packages of the toolchains that made them (CycloneDX)."""

from __future__ import annotations

import functools
import re
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from segexport import __version__
from segexport.artifact import MANIFEST_NAME, FileEntry, ModelArtifact, digest_of, read_artifact
from segexport.errors import EnvironmentMissingError, MissingInputError
from segexport.measure.environment import now
from segexport.pipeline.registry import target_of
from segexport.toolchain.catalog import Toolchain, toolchains

SBOM_NAME = "sbom.cdx.json"
_PINNED = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)(\[[^\]]*\])?==(?P<version>[^\s;\\]+)")
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")
_HASHED = ("model", "params", "host_model")


@dataclass(frozen=True)
class Requirement:
    """A pinned package of a lock file, with the sha256 digests (hex) of its wheels."""

    name: str
    version: str
    sha256: tuple[str, ...]


def models_in(folder: Path) -> list[ModelArtifact]:
    """The artifacts in a folder and below, each verified against its manifest.

    Raises:
        InputError: A manifest is not valid, or a file is not the one that it describes.
    """
    if not folder.is_dir():
        raise MissingInputError(f"{folder}: no such folder")
    return [read_artifact(file.parent) for file in sorted(folder.rglob(MANIFEST_NAME))]


def toolchains_of(models: Iterable[ModelArtifact]) -> list[Toolchain]:
    """The toolchains of the models' targets; all of them for other models."""
    known, names = toolchains(), set()
    for model in models:
        target = target_of(model.manifest.format)
        names |= set(known) if target is None else set(target.toolchains)
    return [known[name] for name in sorted(names) if name in known]


def requirements(lock: str) -> Iterator[Requirement]:
    """The pins of a lock file, as `pip install --require-hashes` reads it."""
    for line in lock.replace("\\\n", " ").splitlines():
        if match := _PINNED.match(line):
            yield Requirement(match["name"], match["version"], tuple(sorted(_HASH.findall(line))))


def sbom(folder: Path) -> str:
    """The bill of materials as CycloneDX 1.6 JSON; the same folder gives the same bytes but for the time.

    Raises:
        EnvironmentMissingError: cyclonedx-python-lib is not installed.
        InputError: A model cannot be read.
    """
    cdx = _cyclonedx()
    models = models_in(folder)
    chains = toolchains_of(models)
    tool = cdx.Component(type=cdx.ComponentType.APPLICATION, name="segexport", version=__version__, bom_ref="segexport")
    identity = digest_of([__version__, [model.digest for model in models], [chain.digest for chain in chains]])
    bom = cdx.Bom(
        components=[*(_model(folder, model) for model in models), *map(_toolchain, chains)],
        metadata=cdx.BomMetaData(component=tool, timestamp=datetime.fromisoformat(now().replace("Z", "+00:00"))),
        serial_number=uuid.UUID(identity[:32], version=5),
    )
    bom.register_dependency(tool, bom.components)
    return cdx.JsonV1Dot6(bom).output_as_string(indent=2) + "\n"


@functools.cache
def _cyclonedx() -> Any:
    """The library's classes, without types: its decorators hide their parameters."""
    try:
        from cyclonedx.model import ExternalReference, ExternalReferenceType, HashAlgorithm, HashType, Property, XsUri
        from cyclonedx.model.bom import Bom, BomMetaData
        from cyclonedx.model.component import Component, ComponentType
        from cyclonedx.output.json import JsonV1Dot6
        from packageurl import PackageURL
    except ImportError as error:
        raise EnvironmentMissingError(
            "a bill of materials needs cyclonedx-python-lib", cause=str(error), hint="pip install 'segexport[records]'"
        ) from None
    return SimpleNamespace(
        Bom=Bom,
        BomMetaData=BomMetaData,
        Component=Component,
        ComponentType=ComponentType,
        ExternalReference=ExternalReference,
        ExternalReferenceType=ExternalReferenceType,
        HashAlgorithm=HashAlgorithm,
        HashType=HashType,
        JsonV1Dot6=JsonV1Dot6,
        PackageURL=PackageURL,
        Property=Property,
        XsUri=XsUri,
    )


def _model(folder: Path, model: ModelArtifact) -> Any:
    cdx = _cyclonedx()
    manifest, place = model.manifest, model.path.relative_to(folder).as_posix()
    described = {
        "format": str(manifest.format),
        "precision": manifest.target.precision.value,
        "source_sha256": manifest.source_sha256,
        **{f"tool.{name}": version for entry in manifest.lineage for name, version in entry.tools.items()},
    }
    return cdx.Component(
        type=cdx.ComponentType.MACHINE_LEARNING_MODEL,
        name=manifest.name,
        version=model.digest[:12],
        bom_ref=f"model:{place}",
        properties=[cdx.Property(name=f"segexport:{name}", value=value) for name, value in described.items() if value],
        components=[_file(place, entry) for entry in manifest.files if entry.role in _HASHED],
    )


def _file(place: str, entry: FileEntry) -> Any:
    cdx = _cyclonedx()
    path = entry.path if place == "." else f"{place}/{entry.path}"
    return cdx.Component(
        type=cdx.ComponentType.MACHINE_LEARNING_MODEL,
        name=path,
        bom_ref=f"file:{path}",
        hashes=[cdx.HashType(alg=cdx.HashAlgorithm.SHA_256, content=entry.sha256)],
    )


def _toolchain(chain: Toolchain) -> Any:
    cdx = _cyclonedx()
    pins = requirements(chain.lock.read_text(encoding="utf-8"))
    return cdx.Component(
        type=cdx.ComponentType.APPLICATION,
        name=f"segexport-toolchain-{chain.name}",
        version=chain.digest,
        description=chain.purpose,
        bom_ref=f"toolchain:{chain.name}",
        components=[_package(chain.name, pin) for pin in pins],
    )


def _package(chain: str, pin: Requirement) -> Any:
    """A package; the digests of its wheels, of which a machine installs one, are those of its distributions."""
    cdx = _cyclonedx()
    page = cdx.XsUri(f"https://pypi.org/project/{pin.name}/{pin.version}/")
    hashes = [cdx.HashType(alg=cdx.HashAlgorithm.SHA_256, content=digest) for digest in pin.sha256]
    source = cdx.ExternalReference(type=cdx.ExternalReferenceType.DISTRIBUTION, url=page, hashes=hashes)
    return cdx.Component(
        type=cdx.ComponentType.LIBRARY,
        name=pin.name,
        version=pin.version,
        bom_ref=f"toolchain:{chain}:{pin.name}@{pin.version}",
        purl=cdx.PackageURL("pypi", None, pin.name.lower().replace("_", "-"), pin.version),
        external_references=[source],
    )
