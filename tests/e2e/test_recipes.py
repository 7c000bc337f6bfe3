"""Every ready recipe runs: on the built-in example, with a few steps of training in place of many."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from workplace import Workplace

RECIPES = Path(__file__).resolve().parents[2] / "recipes"
NAMES = sorted(path.name for path in RECIPES.glob("*.yaml"))
TRAINING_STEPS = 2
TRAINING = {"prune_distill_int8.yaml", "qat_int8.yaml", "unlabelled.yaml"}  # Paddle's trainer takes its time to start
RUN = [pytest.param(name, marks=pytest.mark.slow) if name in TRAINING else name for name in NAMES]


def shortened(path: Path, place: Workplace) -> dict:
    """The recipe as in the file, with shorter times."""
    content = yaml.safe_load(path.read_text())
    for step in content.get("steps", []):
        if "steps" in step["params"]:
            step["params"] |= {"steps": TRAINING_STEPS, "batch_size": 2}
            step["params"].pop("warmup_steps", None)
        if "images" in step["params"]:
            step["params"]["images"] = 4
    for export in content["exports"]:
        if export.get("precision") == "int8" and export["to"] == "onnx":
            export["calibration"] = {**export.get("calibration", {}), "images": 4}
    content["check"] = {**content.get("check", {}), "latency_seconds": 0}
    (place.root / path.name).write_text(yaml.safe_dump(content))
    return content


@pytest.fixture
def newcomer(workplace: Workplace) -> Workplace:
    """The example at the places that the recipes name."""
    folder = workplace.root / "path" / "to"
    folder.mkdir(parents=True)
    (workplace.root / "model").rename(folder / "export")
    (workplace.root / "data").rename(folder / "data")
    (folder / "images").mkdir()
    for image in sorted((folder / "data" / "images").glob("*.png")):
        (folder / "images" / image.name).write_bytes(image.read_bytes())
    return workplace


def test_there_are_recipes():
    assert {"onnx_int8.yaml", "lite_int8.yaml", "prune_distill_int8.yaml", "unlabelled.yaml"} <= set(NAMES)
    assert {"ci_check.yaml", "android.yaml"} <= set(NAMES)


@pytest.mark.parametrize("name", RUN)
def test_a_recipe_runs_as_it_stands(name, newcomer):
    content = shortened(RECIPES / name, newcomer)
    done = newcomer.segexport("run", name, "-o", "out", timeout=280)
    assert done.code in (0, 1), done.stderr
    report = newcomer.report()
    assert len(report["exports"]) == len(content["exports"])
    assert [export["error"] for export in report["exports"]] == [None] * len(content["exports"])
    for export in report["exports"]:
        assert (newcomer.root / "out" / "exports" / export["name"] / "manifest.json").is_file()
    untouched = next(export for export in report["exports"] if export["precision"] == "fp32")
    assert untouched["agreement"] > 0.999  # fp32 of the model as it was


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_says_how_it_is_run_and_is_valid(name, bare):
    text = (RECIPES / name).read_text()
    assert text.startswith("# ")
    assert f"segexport run {name} -o " in text
    assert bare.segexport("recipe", "validate", RECIPES / name).code == 0


def test_a_step_left_out(newcomer):
    name = "prune_distill_int8.yaml"
    content = shortened(RECIPES / name, newcomer)
    content["exports"] = [content["exports"][0], content["exports"][1]]
    (newcomer.root / name).write_text(yaml.safe_dump(content))
    done = newcomer.segexport("run", name, "-o", "out", "--without", "finetune", timeout=280)
    assert done.code in (0, 1), done.stderr
    assert "finetune" not in done.stderr
    small = newcomer.report()["exports"][1]
    assert small["latency_baseline"] == ""
    assert small["size_bytes"] < newcomer.report()["exports"][0]["size_bytes"]
    wrong = newcomer.segexport("run", name, "-o", "out2", "--without", "qat")
    assert wrong.code == 2
    assert wrong.error == "--without qat: the recipe has no step 'qat' to leave out; its steps are prune, finetune"
    assert not (newcomer.root / "out2").exists()
