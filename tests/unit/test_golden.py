"""Golden packs and the results of phones: what is read, what is refused, what a row of the report holds."""

from __future__ import annotations

import hashlib
import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import recordings
from recordings import mask_of, subject
from report_sample import passing_report

from segexport.artifact import digest_of
from segexport.commands.check import CheckOptions, check
from segexport.data.images import encode_image
from segexport.errors import InputError, WorkerFailed
from segexport.recipe.limits import limits_for
from segexport.references.device_result import device_row, with_device_rows
from segexport.references.golden import _tolerances, _write_header, _write_job
from segexport.references.golden_pack import GoldenImage, Pack, agreement_only, open_pack
from segexport.report import render
from segexport.runtimes.device_job import JobItem, read_result
from segexport.spec import Format, Precision
from segexport.verdict import Check, Verdict


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A pack of three images, as `make_pack` writes it, without a model."""
    root = tmp_path_factory.mktemp("golden")
    data = recordings.make_data(root / "street", 3)
    folder = root / "pack"
    folder.mkdir()
    images = []
    for sample in data:
        name, expected = f"input-{sample.index}.png", f"expected-{sample.index}.png"
        (folder / name).write_bytes(encode_image(sample.image)[0])
        (folder / expected).write_bytes(encode_image(mask_of(sample.index)[:, :, None])[0])
        digests = [hashlib.sha256((folder / file).read_bytes()).hexdigest() for file in (name, expected)]
        images.append(
            GoldenImage(
                name=name,
                source=sample.name,
                image_sha256=digests[0],
                width=recordings.WIDTH,
                height=recordings.HEIGHT,
                expected_mask=expected,
                mask_sha256=digests[1],
            )
        )
    pack = Pack(
        created="2024-05-06T07:08:09+00:00",
        segexport_version="0.1.0",
        model=recordings.manifest(),
        runtime="paddle",
        version="2.6.2",
        provider="oneDNN",
        device="Some CPU",
        threads=1,
        tolerances=_tolerances(),
        images=tuple(images),
    )
    digest = _write_header(pack, folder)
    items = [JobItem(folder / image.name, 1, folder / image.expected_mask) for image in images]
    _write_job(folder, subject(format=Format.PADDLE).artifact, items, digest, 1)
    return folder


@pytest.fixture
def copy(made, tmp_path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "pack"))


class TestPack:
    def test_what_is_read(self, made):
        with open_pack(made) as pack:
            assert len(pack.data()) == 3
            assert not pack.data().labelled
            assert np.array_equal(pack.expected_mask("input-1.png"), mask_of(1))
            recorded = pack.as_reference()
            assert np.array_equal(recorded.predict("input-2.png").mask, mask_of(2))
            assert recorded.recorded.kind == "golden pack"
            recorded.require_data(pack.data())

    def test_a_zip_is_the_same_pack(self, made, tmp_path):
        with zipfile.ZipFile(tmp_path / "pack.zip", "w") as file:
            for path in made.iterdir():
                file.write(path, path.name)
            file.writestr("../outside.png", b"x")
            file.writestr("models/model.onnx", b"x")
        with open_pack(tmp_path / "pack.zip") as pack, open_pack(made) as folder:
            assert pack.digest == folder.digest
            assert np.array_equal(pack.expected_mask("input-0.png"), mask_of(0))
            assert {file.suffix for file in pack.folder.iterdir()} == {".png", ".json"}
        assert not (tmp_path / "outside.png").exists()

    def test_the_app_finds_its_job_in_it(self, made):
        job = json.loads((made / "job.json").read_text())
        assert job["id"] == json.loads((made / "pack.json").read_text())["digest"]
        files = [name for item in job["items"] for name in (item["input"], item["expected_mask"])]
        assert files == [f"{what}-{index}.png" for index in range(3) for what in ("input", "expected")]

    def test_limits_are_those_of_the_pack_and_of_agreement_alone(self, made):
        with open_pack(made) as pack:
            limits = pack.limits(Precision.INT8)
        tier = limits_for(Precision.INT8)
        assert limits.agreement_min == tier.agreement_min
        assert {"latency_ratio_max", "size_ratio_max"} <= limits.model_fields_set
        assert limits_for(Precision.INT8, overrides=limits).latency_ratio_max is None


class TestDamage:
    def refused(self, path: Path, message: str) -> InputError:
        with pytest.raises(InputError, match=message) as caught, open_pack(path):
            pass
        assert "segexport golden make" in caught.value.hint
        return caught.value

    def edit(self, pack: Path, *, sign: bool = True, **changes) -> None:
        raw = json.loads((pack / "pack.json").read_text()) | changes
        if sign:
            raw.pop("digest")
            raw["digest"] = digest_of(raw)
        (pack / "pack.json").write_text(json.dumps(raw))

    def test_missing(self, tmp_path):
        self.refused(tmp_path / "nothing", "no such file or folder")
        self.refused(tmp_path, "not a golden pack")

    def test_not_a_zip(self, tmp_path):
        (tmp_path / "pack.zip").write_bytes(b"PK and then nothing")
        self.refused(tmp_path / "pack.zip", "not a golden pack, or one that was cut off")

    def test_an_edited_mask(self, copy):
        (copy / "expected-1.png").write_bytes(encode_image(mask_of(0)[:, :, None])[0])
        self.refused(copy, r"expected-1\.png was edited or damaged")

    def test_a_missing_image(self, copy):
        (copy / "input-2.png").unlink()
        self.refused(copy, r"input-2\.png is missing")

    def test_an_edited_header(self, copy):
        self.edit(copy, sign=False, device="A better device")
        self.refused(copy, r"pack\.json was edited or damaged")

    def test_a_newer_version(self, copy):
        self.edit(copy, schema_version=2)
        assert "update segexport" in self.refused(copy, "schema_version is 2, this segexport reads 1").hint

    def test_a_file_outside(self, copy):
        images = json.loads((copy / "pack.json").read_text())["images"]
        images[0]["name"] = "../../etc/passwd"
        self.edit(copy, images=images)
        assert "must be in its folder" in self.refused(copy, "not a valid golden pack").cause

    @pytest.mark.parametrize("content", [b"", b"[1, 2", b"{}", b"\xff\xfe", b"[" * 100_000])
    def test_no_json(self, copy, content):
        (copy / "pack.json").write_bytes(content)
        self.refused(copy, "not a golden pack|not JSON")


def write_result(folder: Path, pack: Path, masks: list[np.ndarray], **changes) -> Path:
    """What the app writes: result.json and raw masks."""
    folder.mkdir(exist_ok=True)
    items = []
    for index, mask in enumerate(masks):
        (folder / f"mask-{index}.u16").write_bytes(mask.astype("<u2").tobytes())
        items.append(
            {
                "input": f"input-{index}.png",
                "mask": f"mask-{index}.u16",
                "width": mask.shape[1],
                "height": mask.shape[0],
                "agreement": 1.0,
                "preprocess_ms": [1.0],
                "inference_ms": [20.0 + index],
                "postprocess_ms": [0.5],
            }
        )
    result = {
        "schema_version": 1,
        "device": {"manufacturer": "Acme", "model": "Phone 7", "android": "14"},
        "id": json.loads((pack / "job.json").read_text())["id"],
        "model": {"name": "stripes", "format": "onnx", "precision": "fp32", "sha256": "c" * 64},
        "runtime": {"name": "onnxruntime", "version": "1.23.2", "threads": 2, "load_ms": 30.0},
        "items": items,
        "error": None,
    }
    (folder / "result.json").write_text(json.dumps(result | changes))
    return folder / "result.json"


class TestPhone:
    def test_a_row_with_the_phones_name(self, made, tmp_path):
        masks = [mask_of(index) for index in range(3)]
        masks[2] = masks[2].copy()
        masks[2][0, :6] = 2  # 6 of 1260 pixels
        file = write_result(tmp_path / "phone", made, masks)
        with open_pack(made) as pack:
            row = device_row(subject(), read_result(file), file, pack)
        assert row.name == "onnx-fp32 on Acme Phone 7 (Android 14)"
        assert row.agreement == pytest.approx(1 - 6 / 1260 / 3)
        assert row.agreement_worst == pytest.approx(1 - 6 / 1260)
        assert (row.device, row.runtime) == ("Acme Phone 7 (Android 14)", "onnxruntime 1.23.2")
        assert row.latency.inference_ms.p50 == 21.0
        assert row.latency.threads == 2
        by_name = {check.name: check for check in row.checks}
        assert by_name["agreement.pixels"].verdict is Verdict.FAIL  # 99.84 % where fp32 must hold 99.9 %
        assert row.verdict is Verdict.FAIL

    def test_the_phones_own_word_is_not_taken(self, made, tmp_path):
        masks = [np.zeros_like(mask_of(index)) for index in range(3)]
        file = write_result(tmp_path / "phone", made, masks)
        assert read_result(file).agreement == 1.0
        with open_pack(made) as pack:
            assert device_row(subject(), read_result(file), file, pack).verdict is Verdict.FAIL

    def test_the_row_stands_behind_its_export(self, made, tmp_path):
        report = passing_report()
        rows = (report.exports[0], report.exports[0].model_copy(update={"name": "other"}))
        report = report.model_copy(update={"exports": rows})
        file = write_result(tmp_path / "phone", made, [mask_of(index) for index in range(3)])
        with open_pack(made) as pack:
            found = with_device_rows(report, [subject()], [file], pack)
        assert [row.name for row in found.exports] == ["onnx-fp32", "onnx-fp32 on Acme Phone 7 (Android 14)", "other"]
        assert found.verdict is Verdict.PASS

    def test_providers_beside_do_not_decide(self, made, tmp_path):
        masks = [mask_of(index) for index in range(3)]
        file = write_result(tmp_path / "phone", made, masks)
        found = json.loads(file.read_text())
        other = found["runtime"] | {"provider": "nnapi", "first_ms": 99.0, "operators": {"nnapi": 1, "cpu": 4}}
        items = []
        for index, item in enumerate(found["items"]):
            (tmp_path / "phone" / f"mask-{index}-nnapi.u16").write_bytes(np.zeros_like(masks[index], "<u2").tobytes())
            items.append(item | {"mask": f"mask-{index}-nnapi.u16", "inference_ms": [5.0]})
        error = {"kind": "PROVIDER_MISSING", "message": "no provider qnn"}
        beside = [{"provider": "nnapi", "runtime": other, "items": items}, {"provider": "qnn", "error": error}]
        file.write_text(json.dumps(found | {"providers": beside}))
        with open_pack(made) as pack:
            report = with_device_rows(passing_report(), [subject()], [file], pack)
        cpu, nnapi, qnn = report.exports[1:]
        assert (cpu.verdict, cpu.provider) == (Verdict.PASS, "")  # what it ran on is unknown of an older app
        assert (nnapi.name, nnapi.verdict) == ("onnx-fp32 on Acme Phone 7 (Android 14), nnapi", Verdict.SKIPPED)
        assert {check.verdict for check in nnapi.checks if check.name == "agreement.pixels"} == {Verdict.FAIL}
        assert not any(check.gated for check in nnapi.checks)
        assert "operators: 1 on nnapi, 4 on cpu" in nnapi.notes
        assert (nnapi.latency.first_ms, nnapi.latency.inference_ms.p50) == (99.0, 5.0)
        assert qnn.verdict is Verdict.SKIPPED
        assert qnn.checks[0].message == "qnn could not run the model: no provider qnn (PROVIDER_MISSING)."
        assert report.verdict is Verdict.PASS
        for form in ("json", "table", "markdown", "html", "junit"):
            assert "nnapi" in render(report, form), form

    @pytest.mark.parametrize(
        ("ran", "verdict"), [({"cpu": 7}, Verdict.SKIPPED), ({"nnapi": 1}, Verdict.PASS), ({}, Verdict.PASS)]
    )
    def test_a_provider_that_ran_nothing(self, made, tmp_path, ran, verdict):
        file = write_result(tmp_path / "phone", made, [mask_of(index) for index in range(3)])
        found = json.loads(file.read_text())
        other = {"provider": "nnapi", "runtime": found["runtime"] | {"operators": ran}, "items": found["items"]}
        file.write_text(json.dumps(found | {"providers": [other]}))
        with open_pack(made) as pack:
            row = with_device_rows(passing_report(), [subject()], [file], pack).exports[2]
        assert row.verdict is verdict
        told = [check.message for check in row.checks if check.name == "provider.run"]
        idle = ["nnapi ran none of the 7 operators: the times are those of others."]
        assert told == (idle if verdict is Verdict.SKIPPED else [])

    @pytest.mark.parametrize("entry", [{"provider": "nnapi"}, {"provider": "nnapi", "items": []}, {"error": None}])
    def test_a_provider_without_a_result(self, made, tmp_path, entry):
        file = write_result(tmp_path / "phone", made, [mask_of(0)], providers=[entry])
        with pytest.raises(InputError, match="not a device result"):
            read_result(file)

    def test_another_model(self, made, tmp_path):
        model = {"name": "stripes", "format": "onnx", "precision": "fp16", "sha256": "e" * 64}
        file = write_result(tmp_path / "phone", made, [mask_of(0)], model=model)
        with pytest.raises(InputError, match=r"Acme Phone 7 \(Android 14\) ran another model than any of onnx-fp32"):
            with_device_rows(passing_report(), [subject()], [file], None)

    def test_images_that_nobody_knows(self, made, tmp_path):
        file = write_result(tmp_path / "phone", made, [mask_of(0)])
        with pytest.raises(InputError, match=r"the expected result of input-0\.png is unknown") as caught:
            device_row(subject(), read_result(file), file, None)
        assert "--golden" in caught.value.hint

    def test_the_images_of_another_pack(self, made, tmp_path):
        file = write_result(tmp_path / "phone", made, [mask_of(0)], id="0" * 64)
        with (
            open_pack(made) as pack,
            pytest.raises(InputError, match=r"the expected result of input-0\.png is unknown"),
        ):
            device_row(subject(), read_result(file), file, pack)

    def test_a_mask_of_another_size(self, made, tmp_path):
        file = write_result(tmp_path / "phone", made, [mask_of(0)[:10]])
        with open_pack(made) as pack, pytest.raises(InputError, match="is 42x10, 42x30 is expected"):
            device_row(subject(), read_result(file), file, pack)

    def test_a_phone_that_failed(self, made, tmp_path):
        error = {"kind": "OUT_OF_MEMORY", "message": "too large"}
        file = write_result(tmp_path / "phone", made, [], error=error)
        with pytest.raises(WorkerFailed, match="Acme Phone 7"):
            with_device_rows(passing_report(), [subject()], [file], None)


def test_costs_are_told_and_decide_nothing():
    report = passing_report()
    cost = Check(name="compression.effect", verdict=Verdict.FAIL, message="not smaller")
    row = report.exports[0].model_copy(update={"checks": (*report.exports[0].checks, cost), "verdict": Verdict.FAIL})
    found = agreement_only(report.model_copy(update={"exports": (row,), "verdict": Verdict.FAIL}))
    assert found.verdict is Verdict.PASS
    assert not found.exports[0].checks[-1].gated


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"golden": Path("p"), "data": Path("d")}, "--golden replaces --reference and --data"),
        ({"reference": Path("m")}, "--data is missing"),
        ({"data": Path("d")}, "--reference is missing"),
        ({}, "--reference is missing"),
    ],
)
def test_options_that_do_not_go_together(given, message):
    with pytest.raises(InputError, match=message):
        check([Path("e")], None, CheckOptions(**given))
