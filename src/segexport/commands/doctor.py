"""`segexport doctor`: starts every runtime and toolchain for a small job, and reports which work."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from typing import Any, Literal

from segexport.errors import EnvironmentMissingError, SegexportError
from segexport.exporter.targets.base import ExportTarget
from segexport.files.json_writer import to_json
from segexport.files.store import Store
from segexport.measure.environment import describe_machine
from segexport.pipeline.entry_points import broken
from segexport.pipeline.registry import runtimes, targets
from segexport.process import pythons
from segexport.process.interpreter import interpreter_for
from segexport.progress import Progress, silent
from segexport.runtimes.base import Runtime
from segexport.serve import dependencies as needs
from segexport.spec import Frozen
from segexport.toolchain.catalog import Toolchain, toolchains
from segexport.toolchain.hints import how_to_get
from segexport.ui.error_document import ErrorDetail

Kind = Literal["runtime", "target", "toolchain", "plugin", "server", "cache"]
_MOST_AT_ONCE = 4


@dataclass(frozen=True)
class ComponentStatus:
    """The status of a runtime, toolchain, target, plugin, the server or the cache.

    Attributes:
        hint: How to install it, or a warning about its version.
    """

    kind: Kind
    name: str
    ok: bool
    version: str = ""
    detail: str = ""
    hint: str = ""


class DoctorDocument(Frozen):
    """What is installed and works.

    Attributes:
        environment: The machine and its packages.
        obstacle: Why nothing can be exported or run here, exit code 2; null if something can.
    """

    environment: dict[str, Any]
    findings: tuple[ComponentStatus, ...]
    obstacle: ErrorDetail | None = None

    @classmethod
    def of(cls, findings: Sequence[ComponentStatus]) -> DoctorDocument:
        error = obstacle(findings)
        told = None if error is None else ErrorDetail.of(error)
        return cls(environment=describe_machine(), findings=tuple(findings), obstacle=told)


def examine(progress: Progress = silent) -> list[ComponentStatus]:
    """Runs a small job in every runtime and toolchain; lists targets, broken plugins, the server and the cache."""
    trials: list[Callable[[], ComponentStatus]] = [partial(_runtime, runtime) for runtime in runtimes().values()]
    trials += [partial(_toolchain, chain) for chain in toolchains().values()]

    found = []
    pool = ThreadPoolExecutor(min(os.cpu_count() or 1, _MOST_AT_ONCE))
    with progress("trying runtimes and toolchains", len(trials)) as bar, pool:
        for finding in pool.map(lambda trial: trial(), trials):
            found.append(finding)
            bar.advance()
    working = {finding.name for finding in found if finding.kind == "toolchain" and finding.ok}
    found += [_target(target, working) for target in targets().values()]
    found += [
        ComponentStatus("plugin", "", False, "", f"{error.what}: {error.cause}", error.hint) for error in broken()
    ]
    return [*found, _server(), _cache()]


def obstacle(findings: Sequence[ComponentStatus]) -> SegexportError | None:
    """The error if no target can export or no runtime can run a model; None otherwise."""
    lacking = [
        what
        for kind, what in (("target", "exports a model"), ("runtime", "runs a model"))
        if not any(finding.ok for finding in findings if finding.kind == kind)
    ]
    if not lacking:
        return None
    return EnvironmentMissingError(f"nothing here {' or '.join(lacking)}", hint="segexport toolchain install")


def _runtime(runtime: Runtime) -> ComponentStatus:
    found = runtime.probe()
    detail = f"runs on {', '.join(found.devices)}" if found.ok else found.reason
    return ComponentStatus("runtime", runtime.name, found.ok, found.version, detail, found.hint)


def _toolchain(chain: Toolchain) -> ComponentStatus:
    try:
        python = interpreter_for(*chain.modules)
    except EnvironmentMissingError as error:
        return ComponentStatus("toolchain", chain.name, False, "", f"{chain.purpose}: not installed", error.hint)
    versions = pythons.versions(python, *chain.modules)
    named = ", ".join(f"{module} {version}" for module, version in versions.items())
    try:
        chain.prove(python)
    except SegexportError as error:
        return ComponentStatus(
            "toolchain", chain.name, False, named, f"{python}: {error.what}", error.hint or how_to_get(chain)
        )
    tested = [f"{module} {start}*" for module, start in chain.modules.items() if not versions[module].startswith(start)]
    odd = f"tested with {', '.join(tested)}" if tested else ""
    detail = f"{chain.purpose}; Python {pythons.python_version(python)}, {python.parent.parent}"
    return ComponentStatus("toolchain", chain.name, True, named, detail, odd)


def _target(target: ExportTarget, working: set[str]) -> ComponentStatus:
    lacking = [name for name in target.toolchains if name not in working]
    detail = f"exports to {target.title}"
    if lacking:
        detail += f": needs the toolchain {', '.join(lacking)}"
    return ComponentStatus("target", target.name, not lacking, "", detail)


def _server() -> ComponentStatus:
    absent = needs.missing()
    if absent:
        return ComponentStatus(
            "server", "", False, "", f"serves models over HTTP: {', '.join(absent)} missing", needs.HINT
        )
    return ComponentStatus("server", "", True, metadata.version("uvicorn"), "serves models over HTTP, with uvicorn")


def _cache() -> ComponentStatus:
    store = Store()
    kept = sum(entry.size_bytes for entry in store.entries())
    return ComponentStatus("cache", "", True, "", f"{store.objects.parent}, {kept / 1e6:.0f} MB")


def render(findings: Sequence[ComponentStatus], form: str, *, color: bool, width: int) -> str:
    """Formats the findings as a table or as JSON."""
    if form == "json":
        return to_json(DoctorDocument.of(findings))
    from segexport.ui.text_table import table

    machine = describe_machine()
    title = f"{machine['processor']}, {machine['cores']} cores, {machine['system']}, Python {machine['python']}"
    head = ("", "what", "version", "detail", "hint")
    body = [("ok" if f.ok else "missing", f"{f.kind} {f.name}".strip(), f.version, f.detail, f.hint) for f in findings]
    return table(head, body, title=title, color=color, width=width)
