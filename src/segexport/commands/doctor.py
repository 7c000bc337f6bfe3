"""Looks what works here: every runtime and converter is started and asked, none is believed to be there."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib import metadata

from segexport.errors import EnvironmentMissingError
from segexport.files.store import Store
from segexport.measure.environment import describe_machine
from segexport.pipeline.registry import RUNTIMES, runtime_for
from segexport.process.interpreter import interpreter_for, probe
from segexport.serve import dependencies as needs

# (module, what it is for, whether nothing works without it)
_CONVERTERS = (
    ("paddle2onnx", "converts to ONNX", False),
    ("onnx", "edits and quantizes ONNX", False),
    ("onnxslim", "simplifies ONNX", False),
    ("paddleslim", "the comparison in the benchmarks", False),
)
# What was seen to work together; another version may work as well, and nobody has looked.
KNOWN_GOOD = {"paddle": "2.6.2", "paddle2onnx": "1.3.1", "paddlelite": "2.13rc0", "onnxruntime": "1.23.2"}


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        required: Whether segexport can do nothing useful without it.
        hint: How to get it, or what is odd about it.
    """

    name: str
    ok: bool
    version: str
    detail: str
    hint: str
    required: bool = False


def examine() -> list[Finding]:
    """Starts every runtime and looks for every converter."""
    findings = []
    for format in RUNTIMES:
        runtime = runtime_for(format)
        found = runtime.probe()
        known = KNOWN_GOOD.get({"paddle-lite": "paddlelite"}.get(runtime.name, runtime.name), "")
        odd = f"{known} is the version that was tested" if found.ok and known and found.version != known else ""
        detail = f"runs on {', '.join(found.devices)}" if found.ok else found.reason
        findings.append(Finding(f"runtime {runtime.name}", found.ok, found.version, detail, found.hint or odd))
    for module, purpose, required in _CONVERTERS:
        findings.append(_module(module, purpose, required))
    findings.append(_serving())
    store = Store()
    kept = sum(entry.size_bytes for entry in store.entries())
    findings.append(Finding("cache", True, "", f"{store.objects.parent}, {kept / 1e6:.0f} MB", ""))
    return findings


def _serving() -> Finding:
    absent = needs.missing()
    if absent:
        return Finding("server", False, "", f"serves models over HTTP: {', '.join(absent)} missing", needs.HINT)
    return Finding("server", True, metadata.version("uvicorn"), "serves models over HTTP, with uvicorn", "")


def _module(module: str, purpose: str, required: bool) -> Finding:
    try:
        python = interpreter_for(module)
    except EnvironmentMissingError as error:
        return Finding(module, False, "", f"{purpose}: {error.cause}", error.hint, required)
    found = probe(python, module)
    if found is None:
        return Finding(module, False, "", f"{purpose}: {python} cannot import it", f"pip install {module}", required)
    known = KNOWN_GOOD.get(module, "")
    odd = f"{known} is the version that was tested" if known and found["version"] != known else ""
    return Finding(module, True, found["version"], f"{purpose}; Python {found['python']}", odd, required)


def render(findings: Sequence[Finding], form: str, *, color: bool, width: int) -> str:
    """The findings as a table or as JSON."""
    if form == "json":
        report = {"environment": describe_machine(), "findings": [asdict(finding) for finding in findings]}
        return json.dumps(report, indent=2)
    from segexport.ui.text_table import table

    machine = describe_machine()
    title = f"{machine['processor']}, {machine['cores']} cores, {machine['system']}, Python {machine['python']}"
    head = ("", "what", "version", "detail", "hint")
    body = [("ok" if f.ok else "missing", f.name, f.version, f.detail, f.hint) for f in findings]
    return table(head, body, title=title, color=color, width=width)
