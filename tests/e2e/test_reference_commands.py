"""References, packs, baselines and shards as a CI meets them: the command line on the built-in example."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import click
import numpy as np
import pytest
import yaml
from installed import require
from PIL import Image
from workplace import EXPORTS, Workplace, make_workplace

REPOSITORY = Path(__file__).resolve().parents[2]
QUICK = ("--latency-seconds", "0")
DATA = ("--data", "data", "--split", "all")


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, shared_cache: Path) -> Workplace:
    """A workplace with exports, a recorded reference and a report of a check against the model itself."""
    require("paddle", "paddle2onnx", "onnx", "onnxruntime", "paddlelite")
    place = make_workplace(tmp_path_factory.mktemp("reference") / "work", shared_cache)
    recipe = place.recipe(exports=list(EXPORTS))
    assert place.segexport("run", recipe, "-o", "made").code in (0, 1)
    shutil.copytree(place.root / "made" / "exports", place.root / "exports")
    recorded = place.segexport("reference", "record", "model", *DATA, *QUICK, "-o", "street.ref")
    assert recorded.code == 0, recorded.stderr
    assert "a second run gave the same masks" in recorded.stderr
    live = check(place, *DATA, "--reference", "model", "-o", "live")
    assert live.code in (0, 1), live.stderr
    return place


def exports(place: Workplace) -> list[str]:
    return [f"exports/{path.name}" for path in sorted((place.root / "exports").iterdir())]


def check(place: Workplace, *options: str, **environment: str):
    arguments = exports(place) if not any(option.startswith("exports/") for option in options) else []
    return place.segexport("check", *arguments, *QUICK, *options, **environment)


class TestRecorded:
    def test_the_figures_are_those_against_the_model(self, done):
        assert check(done, *DATA, "--reference", "street.ref", "-o", "recorded").code in (0, 1)
        live, recorded = done.report("live"), done.report("recorded")
        assert recorded["exports"] == live["exports"]
        assert recorded["dataset"] == live["dataset"]
        assert recorded["reference"]["miou"] == live["reference"]["miou"]
        assert recorded["reference"]["recorded"]["kind"] == "recording"
        assert live["reference"]["recorded"] is None
        text = (done.root / "recorded" / "report.md").read_text()
        assert "as a substitute for a GPU" in text

    def test_no_reference_model_is_needed(self, done, tmp_path):
        place = Workplace(tmp_path / "elsewhere", done.cache)
        for name in ("exports", "data"):
            shutil.copytree(done.root / name, place.root / name)
        shutil.copyfile(done.root / "street.ref", place.root / "any name")
        assert check(place, *DATA, "--reference", "any name").code in (0, 1)

    def test_one_made_on_a_gpu(self, done):
        """The file as a GPU would have written it: its times are in the GPU's column and no gate uses them."""
        import zipfile

        from segexport.artifact import digest_of

        with zipfile.ZipFile(done.root / "street.ref") as file:
            members = {name: file.read(name) for name in file.namelist()}
        header = json.loads(members["header.json"])
        del header["digest"]
        header["runner"] |= {
            "device": "Some GPU",
            "driver": "550.1",
            "is_gpu": True,
            "provider": "CUDA",
            "asked": "gpu:0",
        }
        blocks = [[1.25, 1.25]] * 12
        header["times"] = {
            "blocks_ms": blocks,
            "first_ms": 9.0,
            "warm_up_runs": 3,
            "preprocess_ms": 1,
            "postprocess_ms": 1,
        }
        header["noise"] |= {"differing_pixels": 12, "miou_delta": 0.0001}
        members["header.json"] = json.dumps(header | {"digest": digest_of(header)}).encode()
        with zipfile.ZipFile(done.root / "gpu.ref", "w") as file:
            for name, data in members.items():
                file.writestr(name, data)
        timed = ("--latency-seconds", "0.5", "-o", "by-gpu")
        found = done.segexport("check", "exports/onnx-fp32", *DATA, "--reference", "gpu.ref", *timed)
        assert found.code == 0, found.stderr
        row = next(line for line in found.stdout.splitlines() if "(reference)" in line)
        assert re.search(r"0\.8323 +– +– +1\.25 +– +– ", row), row
        assert "made on Some GPU, driver 550.1" in found.stdout
        assert "differed from it on 12 pixels" in found.stdout
        report = done.report("by-gpu")
        assert report["reference"]["gpu_latency"]["device"] == "Some GPU"
        assert report["exports"][0]["latency_ratio"] is None

        header["noise"]["miou_delta"] = 0.0006  # more than the margin of fp32
        members["header.json"] = json.dumps(header | {"digest": digest_of(header)}).encode()
        with zipfile.ZipFile(done.root / "noisy.ref", "w") as file:
            for name, data in members.items():
                file.writestr(name, data)
        noisy = check(done, *DATA, "--reference", "noisy.ref")
        assert (noisy.code, "miou_margin is 0.0005" in noisy.error) == (2, True), noisy.stderr

    def test_show(self, done):
        shown = done.segexport("reference", "show", "street.ref")
        assert shown.code == 0
        assert "(CPU, a substitute for a GPU)" in shown.stdout
        header = json.loads(done.segexport("reference", "show", "street.ref", "--format", "json").stdout)
        assert len(header["images"]) == 16
        assert header["noise"]["differing_pixels"] == 0
        assert len(header["images"][0]["logits"]["sha256"]) == 64

    def test_a_recipe_names_it(self, done):
        recipe = done.recipe(
            "recorded.yaml",
            data={"path": "data", "split": "all", "calibration_split": "train"},
            check={"latency_seconds": 0, "worst_images": 1, "reference": "street.ref"},
        )
        ran = done.segexport("run", recipe, "-o", "by-recipe")
        assert ran.code in (0, 1), ran.stderr
        assert done.report("by-recipe")["reference"]["recorded"]["images"] == 16

    def test_other_data_is_an_error(self, done):
        for split in ("val", "test"):
            found = check(done, "--data", "data", "--split", split, "--reference", "street.ref")
            assert (found.code, "recorded with other images" in found.error) == (2, True), found.stderr

    def test_another_model_is_an_error(self, done, tmp_path):
        place = make_workplace(tmp_path / "other", done.cache)
        params = bytearray((place.root / "model" / "model.pdiparams").read_bytes())
        params[-3] ^= 1  # one weight, by a hair
        (place.root / "model" / "model.pdiparams").write_bytes(params)
        assert place.segexport("export", "model", "--to", "onnx", "-o", "exports/hair").code == 0
        shutil.copyfile(done.root / "street.ref", place.root / "street.ref")
        found = check(place, *DATA, "--reference", "street.ref")
        assert (found.code, "another model than the one recorded" in found.error) == (2, True), found.stderr

    def test_another_preprocessing_is_an_error(self, done):
        made = done.segexport(
            "export", "model", "--to", "onnx", "--mean", "0.4,0.5,0.5", "--std", "0.5,0.5,0.5", "-o", "m"
        )
        assert made.code == 0, made.stderr
        found = done.segexport("check", "m", *DATA, *QUICK, "--reference", "street.ref")
        assert (found.code, "another preprocessing" in found.error) == (2, True), found.stderr

    def test_a_damaged_one_is_an_error(self, done):
        data = (done.root / "street.ref").read_bytes()
        (done.root / "cut.ref").write_bytes(data[: len(data) // 2])
        for arguments in (("reference", "show", "cut.ref"), ("check", *exports(done), *DATA, "--reference", "cut.ref")):
            found = done.segexport(*arguments)
            assert (found.code, "cut off" in found.error) == (2, True), found.stderr

    def test_a_gpu_that_is_not_here_is_an_error(self, done):
        found = done.segexport("reference", "record", "model", *DATA, "--device", "gpu:0", "-o", "here.ref")
        if found.code == 0:
            pytest.skip("there is a GPU")
        assert (found.code, "no runtime here can use a GPU" in found.error) == (2, True), found.stderr
        assert "--device cpu" in found.stderr
        assert not (done.root / "here.ref").exists()


class TestUnfit:
    """Data that no reference can be made of."""

    def record(self, place: Workplace, split: str = "all"):
        return place.segexport(
            "reference", "record", "model", "--data", "data", "--split", split, *QUICK, "-o", "x.ref"
        )

    def test_fewer_than_ten_images(self, workplace):
        found = self.record(workplace, "val")
        assert (found.code, "3 images are too few for a reference" in found.error) == (2, True), found.stderr
        assert "segexport golden make" in found.stderr

    def test_no_labelled_pixel(self, workplace):
        for path in (workplace.root / "data" / "labels").iterdir():
            Image.fromarray(np.full((128, 128), 255, np.uint8)).save(path)
        found = self.record(workplace)
        assert (found.code, "not one labelled pixel" in found.error) == (2, True), found.stderr
        assert not (workplace.root / "x.ref").exists()

    def test_one_class_only(self, workplace):
        for path in (workplace.root / "data" / "images").iterdir():
            Image.fromarray(np.zeros((128, 128, 3), np.uint8)).save(path)
        found = self.record(workplace)
        assert (found.code, "one single class on all 16 images" in found.error) == (2, True), found.stderr

    def test_one_class_in_the_data(self, workplace):
        (workplace.root / "data" / "labels.txt").write_text("everything\n")
        found = self.record(workplace)
        assert (found.code, "the model has 2 classes" in found.stderr) == (2, True), found.stderr


class TestGolden:
    def test_a_pack_of_the_model(self, done):
        made = done.segexport("golden", "make", "model", *DATA, "--images", "3", "-o", "pack.zip")
        assert made.code == 0, made.stderr
        found = check(done, "--golden", "pack.zip", "-o", "golden")
        assert found.code in (0, 1), found.stderr
        report = done.report("golden")
        assert report["reference"]["recorded"]["kind"] == "golden pack"
        fp32 = next(export for export in report["exports"] if export["name"] == "onnx-fp32")
        gated = {one["name"] for one in fp32["checks"] if one["gated"]}
        assert {"agreement.pixels", "golden.logits"} <= gated
        assert not any(name.startswith(("miou", "size", "latency", "compression")) for name in gated)
        assert fp32["verdict"] == "PASS"

    def test_a_pack_of_an_export_and_the_answer_of_a_phone(self, done):
        made = done.segexport("golden", "make", "exports/onnx-int8", *DATA, "--images", "2", "-o", "pack")
        assert made.code == 0, made.stderr
        assert (done.root / "pack" / "model.onnx").is_file()
        self.answer(done.root / "pack", done.root / "phone")
        options = ("--golden", "pack", "--device-result", "phone/result.json", "-o", "with-phone")
        found = check(done, "exports/onnx-int8", *options)
        assert found.code == 0, found.stderr + found.stdout
        rows = [export["name"] for export in done.report("with-phone")["exports"]]
        assert rows == ["onnx-int8", "onnx-int8 on Acme Phone 7"]
        other = check(done, "exports/onnx-fp32", *options)
        assert (other.code, "ran another model" in other.error) == (2, True), other.stderr

    def answer(self, pack: Path, folder: Path) -> None:
        """What the app would write, had it given the expected masks."""
        manifest = json.loads((pack / "manifest.json").read_text())
        job = json.loads((pack / "job.json").read_text())
        folder.mkdir()
        items = []
        for index, item in enumerate(job["items"]):
            mask = np.asarray(Image.open(pack / item["expected_mask"]))
            (folder / f"mask-{index}.u16").write_bytes(mask.astype("<u2").tobytes())
            times = {f"{what}_ms": [1.5] for what in ("preprocess", "inference", "postprocess")}
            size = {"width": mask.shape[1], "height": mask.shape[0]}
            items.append({"input": item["input"], "mask": f"mask-{index}.u16", **size, **times})
        model = {"name": "model", "format": "onnx", "precision": "int8", "sha256": manifest["files"][0]["sha256"]}
        runtime = {"name": "onnxruntime", "version": "1.23.2", "threads": 1, "load_ms": 1.0}
        device = {"manufacturer": "Acme", "model": "Phone 7"}
        result = {"schema_version": 1, "device": device, "id": job["id"], "model": model, "runtime": runtime}
        (folder / "result.json").write_text(json.dumps({**result, "items": items, "error": None}))


class TestBaseline:
    def test_the_same_again_and_a_worse_one(self, done):
        good = check(done, *DATA, "--reference", "street.ref", "--baseline", "live/report.json", "-o", "held")
        assert good.code in (0, 1)
        checks = [one for export in done.report("held")["exports"] for one in export["checks"]]
        held = [one for one in checks if one["name"].startswith("baseline.")]
        assert len(held) == 9
        assert {one["verdict"] for one in held} == {"PASS"}

        report = done.report("live")
        report["exports"][0]["miou"] += 0.01
        (done.root / "better.json").write_text(json.dumps(report))
        bad = check(done, *DATA, "--reference", "street.ref", "--baseline", "better.json", "--format", "annotations")
        assert bad.code == 1
        assert "baseline.miou" in bad.stdout
        assert "::error" in bad.stdout
        loose = check(
            done, *DATA, "--reference", "street.ref", "--baseline", "better.json", "--tolerance", "miou=0.02", "-o", "l"
        )
        assert loose.code == good.code

    def test_a_baseline_of_other_classes(self, done):
        report = done.report("live")
        report["labels"][0]["name"] = "sky"
        (done.root / "sky.json").write_text(json.dumps(report))
        found = check(done, *DATA, "--reference", "street.ref", "--baseline", "sky.json")
        assert (found.code, "the baseline has other classes" in found.error) == (2, True), found.stderr

    def test_a_recipe_names_it(self, done):
        def ran(**check):
            quick = {"latency_seconds": 0, "worst_images": 0, **check}
            recipe = done.recipe("held.yaml", exports=[{"to": "onnx"}], check=quick)
            return done.segexport("run", recipe, "-o", "by-recipe-held"), done.report("by-recipe-held")

        def verdicts(report):
            checks = report["exports"][0]["checks"]
            return {one["name"]: one["verdict"] for one in checks if one["name"].startswith("baseline.")}

        first, report = ran()
        assert (first.code, verdicts(report)) == (0, {})
        report["exports"][0]["miou"] += 0.01
        (done.root / "last.json").write_text(json.dumps(report))
        worse, report = ran(baseline="last.json")
        assert worse.code == 1
        assert "found in the cache" in worse.stderr  # what a baseline says changes nothing of what was measured
        assert verdicts(report) == {"baseline.miou": "FAIL", "baseline.agreement": "PASS", "baseline.size": "PASS"}
        loose, report = ran(baseline="last.json", tolerances={"miou": 0.02})
        assert (loose.code, verdicts(report)["baseline.miou"]) == (0, "PASS")
        gone, _ = ran(baseline="gone.json")
        assert (gone.code, gone.error.endswith("gone.json: cannot be read")) == (2, True), gone.stderr


def test_shards_merge_to_the_same_bytes(done):
    clock = {"SOURCE_DATE_EPOCH": "1700000000"}
    common = (*DATA, "--reference", "street.ref")
    whole = check(done, *common, "-o", "whole", **clock)
    for index in (1, 2, 3):
        part = check(done, *common, "--shard", f"{index}/3", "-o", f"part-{index}", **clock)
        assert part.code == 0, part.stderr
    merged = done.segexport("merge", "part-3", "part-1", "part-2", "-o", "merged", **clock)
    assert merged.code == whole.code, merged.stderr
    files = sorted(file.relative_to(done.root / "whole") for file in (done.root / "whole").rglob("*") if file.is_file())
    assert len(files) > 4
    for file in files:
        assert (done.root / "merged" / file).read_bytes() == (done.root / "whole" / file).read_bytes(), file
    short = done.segexport("merge", "part-3", "part-1", "-o", "short", **clock)
    assert (short.code, "2 parts are not the 3 of the run" in short.error) == (2, True), short.stderr


def test_the_stand_in_for_paddle_on_a_gpu_agrees_with_it(done, monkeypatch):
    """The way that a GPU without Paddle takes, on the CPU."""
    from segexport.artifact import read_artifact
    from segexport.data.dataset import Dataset
    from segexport.errors import InputError
    from segexport.exporter.from_paddle import ImportOptions, import_model
    from segexport.files.store import Store
    from segexport.references.recording_runtime import onnx_stand_in
    from segexport.runtimes.base import RunOptions
    from segexport.spec import Format

    data = Dataset.open(done.root / "data", "all")
    store = Store(done.cache)
    source = import_model(done.root / "model", ImportOptions(fallback_labels=data.labels), store)
    engine = onnx_stand_in(source, RunOptions(), data, store)
    assert engine.artifact.manifest.format == Format.ONNX
    assert engine.artifact.manifest.source_sha256 == source.manifest.source_sha256
    assert "stood in for Paddle" in engine.notes[0]

    # An export that is a little off, as a conversion that changes what the model computes would be.
    int8 = read_artifact(done.root / "exports" / "onnx-int8")
    monkeypatch.setattr("segexport.references.recording_runtime.PlanRunner.build", lambda *_: int8)
    with pytest.raises(InputError, match=r"agrees with Paddle on 9\d\.\d+% of the pixels; a reference needs 99\.9%"):
        onnx_stand_in(source, RunOptions(), data, store)


# -- the workflow file -----------------------------------------------------------------------------------------


def commands_of(workflow: dict) -> list[list[str]]:
    """Every call of segexport in the scripts of a workflow."""
    found = []
    for job in workflow["jobs"].values():
        for step in job["steps"]:
            script = re.sub(r"\$\{\{.*?\}\}", "1", step.get("run", "")).replace("\\\n", " ")
            found += [line.split()[1:] for line in script.splitlines() if line.strip().startswith("segexport ")]
    return found


WORKFLOWS = {"segexport.yml": {"check", "merge", "report"}, "segexport-recipe.yml": {"run", "report"}}


def workflow_of(name: str) -> dict:
    return yaml.safe_load((REPOSITORY / "docs" / "ci" / name).read_text())


@pytest.mark.parametrize("name", WORKFLOWS)
def test_the_workflows_call_commands_that_exist(name):
    from segexport.cli.main import cli

    workflow = workflow_of(name)
    assert workflow[True].keys() >= {"pull_request"}  # YAML 1.1 reads `on` so
    calls = commands_of(workflow)
    assert {call[0] for call in calls} == WORKFLOWS[name]
    for call in calls:
        command, words = cli, list(call)
        while isinstance(command, click.Group):
            command = command.commands[words.pop(0)]
        known = {name for parameter in command.params for name in parameter.opts}
        for word in words:
            assert not word.startswith("-") or word.split("=")[0] in known, (call, word)


@pytest.mark.parametrize("name", WORKFLOWS)
def test_the_workflows_are_workflows(name):
    workflow = workflow_of(name)
    for name, job in workflow["jobs"].items():
        assert job["runs-on"], name
        needs = job.get("needs", [])
        assert set([needs] if isinstance(needs, str) else needs) <= set(workflow["jobs"]), name
        for step in job["steps"]:
            assert ("uses" in step) != ("run" in step), step
            if "uses" in step:
                assert re.fullmatch(r"[\w.-]+/[\w./-]+@v\d+", step["uses"]), step


def test_the_recipe_that_a_workflow_names_is_one():
    from segexport.recipe.schema import CheckRecipe

    text = (REPOSITORY / "docs" / "ci" / "segexport-recipe.yml").read_text()
    lines = re.findall(r"^#   {20,}((?:check|  \w+):.*)", text, re.MULTILINE)
    check = yaml.safe_load("\n".join(lines))["check"]
    assert CheckRecipe.model_validate(check).baseline == "baseline.json"
