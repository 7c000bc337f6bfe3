"""An export says what it is and how it is run, and what it says works."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys

import pytest
from workplace import make_workplace


@pytest.fixture(scope="module")
def workplace(tmp_path_factory, shared_cache):
    made = make_workplace(tmp_path_factory.mktemp("readme") / "work", shared_cache)
    assert made.segexport("export", "model", "--to", "onnx", "-o", "onnx").code == 0
    return made


def test_the_code_in_it_runs(workplace):
    folder = workplace.root / "onnx"
    text = (folder / "README.md").read_text(encoding="utf-8")
    assert "| format | ONNX, fp32, for any, " in text
    assert "| 2 classes | class_0, class_1 |" in text
    assert "segexport android assets ." in text
    (code,) = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    shutil.copyfile(workplace.root / "data/images/tile_00.png", folder / "photo.jpg")
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, env=workplace.environment, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert [path.name for path in (folder / "pictures").iterdir()] == ["photo.jpg"]


def test_exports_of_a_recipe_have_one_each(workplace):
    recipe = workplace.recipe(exports=[{"to": "onnx"}, {"to": "onnx", "precision": "fp16"}])
    done = workplace.segexport("run", recipe, "-o", "out", "--log", "tensorboard:tb")
    assert done.code in (0, 1), done.stderr
    for name in ("onnx-fp32", "onnx-fp16"):
        card = (workplace.root / "out/exports" / name / "README.md").read_text(encoding="utf-8")
        verdict = next(row["verdict"] for row in workplace.report()["exports"] if row["name"] == name)
        assert re.search(rf"\*\*{verdict}(, values not run here)?\*\*, by segexport", card)
        assert "mean_iou" in card
    assert workplace.segexport("inspect", "out/exports/onnx-fp32").code == 0
    assert "logged: step 0 in tb" in done.stderr


def test_an_export_is_opened_without_the_code_that_imports_programs(workplace):
    """It takes as long to load as a prediction."""
    code = (
        "import sys, segexport\n"
        "with segexport.load('onnx') as model: print(len(list(model.predict('data/images/tile_00.png'))))\n"
        "print('segexport.exporter.from_paddle' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=workplace.root, env=workplace.environment, capture_output=True
    )
    assert done.stdout.split() == [b"1", b"False"], done.stderr
