"""Overlays for Model Explorer that `diagnose` and `compress` write: every key is an operator of the exported file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from installed import require

from segexport.exporter.targets.layers import QuantizableLayer
from segexport.report.model_explorer import FOLDER, numbers, words
from segexport.search.overlays import of_search


def names_of(file: Path) -> tuple[str, list[str]]:
    """The graph's id and the operators' ids, as model-explorer-onnx 0.4 makes them."""
    onnx = pytest.importorskip("onnx")
    graph = onnx.load(file).graph
    return graph.name, [node.name or f"<node_{index}>" for index, node in enumerate(graph.node)]


def overlays_of(folder: Path) -> dict[str, dict]:
    return {path.stem: json.loads(path.read_text()) for path in (folder / FOLDER).glob("*.json")}


def require_fits(overlay: dict, graph: str, nodes: list[str]) -> None:
    """The form of `ModelNodeData`: graph id -> name, results by node id, colours."""
    assert list(overlay) == [graph]
    (content,) = overlay.values()
    assert set(content) <= {"name", "results", "gradient", "showExpandedSummaryOnGroupNode"}
    assert content["results"]
    assert set(content["results"]) <= set(nodes)
    for result in content["results"].values():
        assert set(result) <= {"value", "bgColor"}
        assert isinstance(result["value"], (int, float, str))
    for stop in content.get("gradient", ()):
        assert set(stop) == {"stop", "bgColor"}


@pytest.mark.parametrize("precision", ["fp32", pytest.param("int8", marks=pytest.mark.slow)])
def test_a_diagnosis_writes_them(workplace, precision):
    calibration = ("--calibration", "data", "--calibration-images", "2") if precision == "int8" else ()
    done = workplace.segexport("export", "model", "--to", "onnx", "--precision", precision, *calibration, "-o", "onnx")
    assert done.code == 0, done.stderr
    image = (workplace.root / "data/val.txt").read_text().split()[0]
    done = workplace.segexport("diagnose", "onnx", "--reference", "model", "--image", f"data/{image}", "-o", "found")
    assert done.code in (0, 1), done.stderr
    graph, nodes = names_of(workplace.root / "onnx/model.onnx")
    assert len(set(nodes)) == len(nodes)
    found = overlays_of(workplace.root / "found")
    assert sorted(found) == ["accumulated_error", "local_error", "precision"]
    for overlay in found.values():
        require_fits(overlay, graph, nodes)
    diagnosis = json.loads((workplace.root / "found/diagnosis.json").read_text())
    told = {node for layer in diagnosis["layers"] for node in layer["nodes"]}
    assert set(found["precision"][graph]["results"]) == told
    values = {one["value"] for one in found["precision"][graph]["results"].values()}
    assert precision in values


def test_they_load_in_model_explorer(workplace, tmp_path):
    """Its own classes take them, if it is installed."""
    builder = pytest.importorskip("model_explorer.node_data_builder")
    overlay = numbers("main", "error", {"a": 0.5, "b": float("nan")})
    result = builder.NodeDataResult(value=overlay["main"]["results"]["a"]["value"])
    gradient = [builder.GradientItem(**stop) for stop in overlay["main"]["gradient"]]
    made = builder.ModelNodeData({"main": builder.GraphNodeData({"a": result}, name="error", gradient=gradient)})
    told = json.loads(made.to_json_string())["main"]
    assert {key: told[key] for key in overlay["main"]} == overlay["main"]


def test_a_search_writes_them():
    from types import SimpleNamespace

    layers = tuple(
        QuantizableLayer(name=name, operator="Conv", float_ms=2.0, int8_ms=1.0) for name in ("a", "b", "c", "gone")
    )
    space = SimpleNamespace(layers=layers, groups=(("a", "b"), ("c",)))

    def point(subject: str, distance: float | None):
        attempt = SimpleNamespace(stage="layers", subject=subject)
        return SimpleNamespace(attempt=attempt, distance=distance)

    candidate = SimpleNamespace(precision=SimpleNamespace(arithmetic="int8"), float_nodes=("c",))
    chosen = SimpleNamespace(candidate=candidate)
    points = [point("a", 0.1), point("c", 0.0), point("gone", None)]
    found = of_search(space, points, chosen, "graph", ["a", "b", "c", "d"])
    assert sorted(found) == ["float_time", "int8_time", "precision", "sensitivity"]
    for overlay in found.values():
        require_fits(overlay, "graph", ["a", "b", "c", "d"])
    harm = {name: round(one["value"], 3) for name, one in found["sensitivity"]["graph"]["results"].items()}
    assert harm == {"a": 0.1, "b": 0.1, "c": 0.0}
    assert {name: one["value"] for name, one in found["precision"]["graph"]["results"].items()} == {
        "a": "int8",
        "b": "int8",
        "c": "fp32",
    }
    assert of_search(space, [], None, "graph", []) == {}


def test_nothing_finite_is_no_overlay():
    assert numbers("main", "error", {"a": float("inf"), "b": None}) == {}
    assert words("main", "precision", {}) == {}


@pytest.mark.slow
def test_compress_writes_them(workplace):
    require("paddle", "onnx", "onnxruntime")
    images = ("--split", "all", "--verdict-split", "all", "--screen-images", "4")
    options = (*images, "--objective", "size", "--no-train", "--budget-minutes", "1", "-o", "small")
    done = workplace.segexport("compress", "model", "--data", "data", *options, timeout=600)
    assert done.code in (0, 1), done.stderr
    (file,) = [
        path for path in (workplace.root / "small/exports").glob("*/model.onnx") if path.parent.name == "compressed"
    ] or (workplace.root / "small/exports").glob("fp32/model.onnx")
    graph, nodes = names_of(file)
    for overlay in overlays_of(workplace.root / "small").values():
        require_fits(overlay, graph, nodes)
    assert (workplace.root / "small" / FOLDER / "precision.json").is_file()
