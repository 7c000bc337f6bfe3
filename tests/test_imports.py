"""The layers point one way, `--help` is quick, and native code stays in the workers."""

from __future__ import annotations

import ast
import functools
import resource
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
HOMES = {
    "src/segexport": "segexport",
    "exporter": "segexport.exporter",
    "compress": "segexport.compress",
    "runtimes": "segexport.runtimes",
}
NATIVE = {
    "paddle",
    "paddle2onnx",
    "paddlelite",
    "onnx",
    "onnxruntime",
    "onnxslim",
    "paddleslim",
    "torch",
    "tensorflow",
    "openvino",
    "nncf",
}
# What `live_program` does needs Paddle in the process that trains; only compress/ may, and nothing else imports it.
IN_PROCESS = {"segexport.compress"}

# Each layer may import those before it in this list, and its own. A room is named whole; a module of a room that others
# need earlier is listed separately.
LAYERS = (
    {"errors", "pipeline.entry_points", "files.model_format"},
    {"spec", "verdict"},
    {"artifact", "files.external_data", "files.foreign", "files.json_reader", "files.wire_format"}
    | {"data.images", "data.stored_pixels", "data.array_files"}
    | {"data.tiff", "runtimes.objects", "measure.audit", "measure.environment", "measure.mask_proof"}
    | {"measure.student_t"},
    {"progress"},
    {"files", "recipe"},
    {"process", "preprocess", "ui", "toolchain"},
    {"engine"},
    {"data"},
    {"importers", "report.schema", "runtimes.base", "runtimes.ahead"},
    {"measure"},
    {"runtimes", "pipeline.step"},
    {"exporter.framework_proto", "exporter.graph", "exporter.program"}
    | {"exporter.program_graph", "exporter.program_reader", "exporter.program_verify", "exporter.program_writer"}
    | {"exporter.output_semantics"},
    {"exporter", "toolchain.builtin"},
    {"diagnose.schema", "diagnose.match", "diagnose.trace", "diagnose.graph_probe"},
    {"exporter.targets.base", "exporter.targets.layers", "exporter.targets.profile"},
    {"pipeline.registry"},
    {"exporter.targets", "exporter.paddle_audit", "judge"},
    {"predict", "report", "task", "video", "clusters"},
    {"pipeline"},
    {"compress", "android", "ci", "records"},
    {"references"},
    {"check"},
    {"diagnose", "search", "serve", "zoo"},
    {"commands"},
    {"cli", "seg", "det", "assistant"},
    {"__main__"},
)


def modules() -> dict[str, Path]:
    found = {}
    for home, package in HOMES.items():
        for path in sorted((REPOSITORY / home).rglob("*.py")):
            parts = path.relative_to(REPOSITORY / home).with_suffix("").parts
            name = ".".join((package, *parts)).removesuffix(".__init__")
            found[name] = path
    return found


def is_worker(name: str) -> bool:
    return ".workers." in name or name == "segexport.process.worker_host"


def is_title(name: str) -> bool:
    """Whether the module is a package's docstring only, or the package that contains all others."""
    return name == "segexport" or not imports(MODULES[name])


@functools.cache
def imports(path: Path, *, lazy: bool = True, typing: bool = True) -> set[str]:
    """Full names of imported modules; `lazy`: also inside functions, `typing`: also those for annotations only."""
    found: set[str] = set()

    def visit(node: ast.AST) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                found.update(alias.name for alias in child.names)
            elif isinstance(child, ast.ImportFrom) and child.module and not child.level:
                found.add(child.module)
                found.update(f"{child.module}.{alias.name}" for alias in child.names)
            elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test) and not typing:
                for other in child.orelse:
                    visit(other)
            elif lazy or not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
                visit(child)

    visit(ast.parse(path.read_text(encoding="utf-8")))
    return found


def layer_of(name: str) -> int:
    """The place of the module's layer, else of its room's; -1 where neither has one."""
    parts = name.removeprefix("segexport.").split(".")
    keys = [".".join(parts[:length]) for length in range(len(parts), 0, -1)]
    return next((index for key in keys for index, layer in enumerate(LAYERS) if key in layer), -1)


MODULES = modules()


def test_there_is_something_to_look_at():
    assert len(MODULES) > 60
    assert {"segexport.cli.main", "segexport.exporter.to_onnx", "segexport.runtimes.base"} <= set(MODULES)
    assert "onnx" in imports(MODULES["segexport.exporter.workers.onnx_worker"])


def test_every_module_has_a_layer():
    assert [name for name in MODULES if name != "segexport" and layer_of(name) < 0] == []


def test_only_the_vocabulary_lies_loose():
    loose = {path.stem for path in (REPOSITORY / "src/segexport").glob("*.py")}
    assert loose == {"__init__", "__main__", "artifact", "errors", "preprocess", "progress", "spec", "verdict"}


def test_layers_point_one_way():
    wrong = []
    for name, path in MODULES.items():
        if not is_worker(name) and name != "segexport":
            targets = {target for target in imports(path) if target in MODULES and not is_title(target)}
            wrong += [f"{name} imports {target}" for target in targets if layer_of(target) > layer_of(name)]
    assert sorted(wrong) == []


def test_no_import_goes_in_a_circle():
    graph = {
        name: {target for target in imports(path) if target in MODULES and target not in (name, "segexport")}
        for name, path in MODULES.items()
    }
    done: set[str] = set()

    def walk(name: str, way: tuple[str, ...]) -> None:
        assert name not in way, " -> ".join((*way[way.index(name) :], name))
        if name not in done:
            for target in graph[name]:
                walk(target, (*way, name))
            done.add(name)

    for name in graph:
        walk(name, ())


def test_class_names_are_unique():
    """Class names are unique: there are no two `Result`s."""
    places: dict[str, list[str]] = {}
    for name, path in MODULES.items():
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places.setdefault(node.name, []).append(name)
    assert {name: found for name, found in places.items() if len(found) > 1} == {}


def test_native_code_is_imported_by_workers_only():
    wrong = {
        name: sorted({target.split(".")[0] for target in imports(path)} & NATIVE)
        for name, path in MODULES.items()
        if not is_worker(name) and not any(name.startswith(package) for package in IN_PROCESS)
    }
    assert {name: targets for name, targets in wrong.items() if targets} == {}


def test_workers_import_nothing_of_segexport():
    for name, path in MODULES.items():
        if is_worker(name) and not any(name.startswith(package) for package in IN_PROCESS):
            assert not {target for target in imports(path) if target.split(".")[0] == "segexport"}, name


def test_nothing_imports_what_trains_in_process():
    for name, path in MODULES.items():
        if not name.startswith("segexport.compress"):
            eager = {target for target in imports(path, lazy=False) if target.startswith("segexport.compress")}
            assert not eager, f"{name} imports {eager}"


def test_folders_are_imported_by_their_installed_names():
    for name, path in MODULES.items():
        if not is_worker(name):
            generic = {target.split(".")[0] for target in imports(path)} & {"exporter", "compress", "runtimes"}
            assert not generic, name


HEAVY = (
    "numpy",
    "paddle",
    "onnx",
    "onnxruntime",
    "cv2",
    "pydantic",
    "yaml",
    "rich",
    "jinja2",
    "PIL",
    "google.protobuf",
    "fsspec",
)


def test_help_imports_nothing_heavy():
    source = (
        "import sys\n"
        "from segexport.cli.main import cli\n"
        "try: cli(['--help'])\n"
        "except SystemExit: pass\n"
        f"print('HEAVY', [name for name in {HEAVY!r} if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True)
    assert "Usage:" in done.stdout
    assert done.stdout.splitlines()[-1] == "HEAVY []"


@pytest.mark.serial
@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["--version"]])
def test_help_is_quick(arguments):
    """Under 0.2 s of processor time, the least of 7: other work shares caches and cores, and only lengthens it."""
    source = "from segexport.cli.main import main; main()"

    def seconds() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-c", source, *arguments], capture_output=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    assert min(seconds() for _ in range(7)) < 0.2
