"""Which export is recommended, and why: on reports that were never measured."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from report_sample import passing_report

from segexport.commands import recommend as command
from segexport.commands.recommend import Recommendation, RecommendOptions
from segexport.errors import EnvironmentMissingError, InputError
from segexport.exporter.targets.purpose import PURPOSES
from segexport.pipeline.registry import targets
from segexport.recipe.schema import DataRecipe, ModelRecipe, Recipe
from segexport.report.schema import Percentiles
from segexport.verdict import Check, Verdict

OUT = Path("out dir")


def candidate(to: str, precision: str, size: int, agreement: float, **changes):
    export = passing_report().exports[0]
    update = {"name": f"{to}-{precision}", "precision": precision, "size_bytes": size, "size_ratio": size / 2_000_000}
    return export.model_copy(update={**update, "agreement": agreement, "latency_ms": None, **changes})


def recommended(*exports, purpose: str = "android", timed: bool = False, labelled: bool = False) -> Recommendation:
    report = passing_report()
    dataset = report.dataset.model_copy(update={"labelled": labelled, "images": 20})
    report = report.model_copy(update={"exports": exports, "dataset": dataset})
    entries = [
        {"to": export.name.rpartition("-")[0], "precision": export.precision, "name": export.name} for export in exports
    ]
    recipe = Recipe(model=ModelRecipe(path="m"), data=DataRecipe(path="d"), exports=tuple(entries))
    return command._recommendation(report, recipe, PURPOSES[purpose], (), OUT, Path("photos/0.jpg"), timed=timed)


def reasons(found: Recommendation) -> dict[str, str]:
    return {one.name: one.reason for one in found.candidates}


def test_the_smallest_that_passed_and_that_the_app_runs():
    failed = Check(name="agreement.pixels", verdict=Verdict.FAIL, message="90 % of the pixels.\nmore")
    found = recommended(
        candidate("onnx", "fp32", 2_000_000, 1.0),
        candidate("onnx", "int8", 600_000, 0.995),
        candidate("mnn", "int8", 500_000, 0.996),
        candidate("paddle-lite", "int8", 400_000, 0.9, verdict=Verdict.FAIL, checks=(failed,)),
    )
    assert found.recommended == "onnx-int8"
    assert found.next_steps == ("segexport android assets 'out dir/exports/onnx-int8' --sample photos/0.jpg",)
    assert reasons(found) == {
        "onnx-fp32": "passed, with 3.3 times the size",
        "onnx-int8": "recommended",
        "mnn-int8": "passed, but needs an integration of MNN of your own",
        "paddle-lite-int8": "FAIL: 90 % of the pixels",
    }
    assert found.why == (
        "onnx-int8 is recommended for an Android app. Its masks agree with the original's on 99.500 % of the pixels "
        "(20 images). It takes 600 kB, 0.30x of the original. 3 of 4 candidates passed every gate, and it is the "
        "smallest that `segexport android assets` takes, or the most accurate of those about equal. Smaller, but not "
        "recommended: mnn-int8 (passed, but needs an integration of MNN of your own). "
        f"{PURPOSES['android'].remark} Without labels it is not known how good the original is."
    )


def test_of_about_equal_sizes_the_more_accurate():
    found = recommended(candidate("onnx", "int8", 600_000, 0.99), candidate("paddle-lite", "int8", 640_000, 0.995))
    assert found.recommended == "paddle-lite-int8"
    assert reasons(found)["onnx-int8"] == "passed, about as small, and agrees less with the original"


def test_what_ran_itself_comes_before_what_a_substitute_ran_for():
    stand_in = Check(name="values.run", verdict=Verdict.INCONCLUSIVE, message="the x86 twin ran", gated=False)
    twin = candidate("paddle-lite", "int8", 300_000, 0.999, checks=(stand_in,))
    assert twin.not_run
    found = recommended(candidate("onnx", "int8", 600_000, 0.99), twin)
    assert found.recommended == "onnx-int8"
    assert reasons(found)["paddle-lite-int8"] == "passed, but this machine ran a substitute for its file"


def test_a_server_wants_the_fastest():
    def ms(value: float) -> dict:
        return {"latency_ms": Percentiles(p50=value, p90=value, p99=value)}

    exports = (
        candidate("onnx", "int8", 600_000, 0.99, **ms(20.0), miou_delta=-0.002),
        candidate("openvino", "int8", 900_000, 0.99, **ms(10.0), miou_delta=-0.002),
    )
    found = recommended(*exports, purpose="server", timed=True, labelled=True)
    assert found.recommended == "openvino-int8"
    assert "its mIoU differs by -0.0020" in found.why
    assert "and 10.0 ms for an image" in found.why
    assert reasons(found)["onnx-int8"] == "passed, with 2.0 times the time"
    assert found.next_steps == ("segexport serve 'out dir/exports/openvino-int8'",)


def test_an_export_that_no_command_takes_further_names_its_readme():
    found = recommended(candidate("mnn", "int8", 500_000, 0.99))
    assert found.next_steps == ("see out dir/exports/mnn-int8/README.md",)


def test_nothing_is_recommended_where_nothing_passed():
    failed = Check(name="agreement.pixels", verdict=Verdict.FAIL, message="90 % of the pixels.")
    found = recommended(candidate("onnx", "int8", 1, 0.9, verdict=Verdict.FAIL, checks=(failed,)))
    assert (found.recommended, found.next_steps) == ("", ())
    assert found.why == ("No candidate for an Android app passed on 20 images. onnx-int8: FAIL: 90 % of the pixels.")
    content = json.loads(found.as_json())
    assert content["candidates"][0]["verdict"] == "FAIL"
    assert "report" not in content


def test_every_purpose_has_targets_and_every_command_a_purpose():
    for purpose in PURPOSES:
        fitting = [target for target in targets().values() if purpose in target.fits]
        assert any(purpose in target.next_command for target in fitting)
    for target in targets().values():
        assert set(target.next_command) <= set(target.fits) <= set(PURPOSES)
        for precisions in target.fits.values():
            for precision in precisions:
                assert target.Recipe.model_validate({"to": target.name, "precision": precision}).precision is precision


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    from PIL import Image

    folder = tmp_path / "photos"
    folder.mkdir()
    for index in range(30):
        Image.new("RGB", (8, 8), (index, 0, 0)).save(folder / f"{index:02d}.png")
    return folder


def test_photos_are_halved_and_a_data_set_is_not(photos: Path):
    asked = RecommendOptions(purpose="android", data=photos)
    recipe, shared = command._data(asked, 30)
    assert (recipe.part, recipe.calibration_part, recipe.calibration_split, shared) == ("2/2", "1/2", "val", False)
    recipe, shared = command._data(asked, 27)
    assert (recipe.part, recipe.calibration_part, shared) == (None, None, True)
    (photos / "val.txt").write_text("00.png 00.png\n")
    (photos / "train.txt").write_text("01.png 01.png\n")
    recipe, shared = command._data(asked, 1)
    assert (recipe.split, recipe.calibration_split, recipe.part, shared) == ("val", "train", None, False)


def test_a_missing_toolchain_is_named_with_its_command(monkeypatch, photos: Path, tmp_path: Path):
    """Without any toolchain there is nothing to make; with some, the others are left out."""

    def absent(*modules: str):
        raise EnvironmentMissingError("not installed", hint=f"segexport toolchain install {modules[0]}")

    monkeypatch.setattr(command, "interpreter_for", absent)
    told = list(command._lacking(targets()["mnn"]))
    assert [(one.target, one.toolchain) for one in told] == [("mnn", "onnx"), ("mnn", "mnn")]
    assert all(one.install.startswith("segexport toolchain install ") for one in told)
    from segexport.exporter.from_paddle import ImportOptions

    with pytest.raises(EnvironmentMissingError, match="no target for an Android app is installed"):
        command.recommend(
            tmp_path / "m", tmp_path / "o", ImportOptions(), RecommendOptions(purpose="android", data=photos)
        )
    assert not (tmp_path / "o").exists()
    with pytest.raises(InputError, match="purpose"):
        command.recommend(tmp_path / "m", tmp_path / "o", ImportOptions(), RecommendOptions(purpose="ios", data=photos))


def test_import_options_that_a_recipe_has_no_key_for_become_its_preprocessing(tmp_path: Path):
    from recordings import manifest

    from segexport.artifact import ModelArtifact
    from segexport.commands.run import model_recipe
    from segexport.exporter.import_options import ImportOptions

    source = ModelArtifact(tmp_path, manifest())
    plain = model_recipe(tmp_path, ImportOptions(), source)
    assert (plain.preprocess, plain.path) == (None, str(tmp_path.resolve()))
    for options in (ImportOptions.from_strings(tile_size="512"), ImportOptions.from_strings(color="bgr")):
        assert model_recipe(tmp_path, options, source).preprocess == source.manifest.preprocess
