"""Shards: the merged report is that of one run, byte for byte; parts that do not belong together are refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import recordings
from recordings import mask_of, subject, write_recording

from segexport.check.build_report import conclude
from segexport.errors import InputError, WorkerCrashed
from segexport.judge.results import Measured, Measurement
from segexport.measure import parity
from segexport.measure.parity import ModelUnderTest
from segexport.references.merge import merge
from segexport.references.shard import parse_shard, write_part
from segexport.report import render
from segexport.report.schema import DatasetInfo, ShownImage
from segexport.runtimes.base import Prediction, SessionInfo
from segexport.spec import Precision
from segexport.task.base import ScoredClasses
from segexport.task.semantic.scorer import PixelScorer
from segexport.verdict import Check, Verdict

IMAGES, WORST = 17, 4
INFO = SessionInfo("onnxruntime", "1.23.2", "CPUExecutionProvider", "Some CPU", 1, 5.0)


class Noisy:
    """An export whose mask differs from the reference's at pixels that depend on the image."""

    def __init__(self, wrong: float, *, bad: frozenset[int] = frozenset()):
        self.info, self._wrong, self._bad = INFO, wrong, bad
        self.pending: list[int] = []

    def submit(self, tensors, *, margin=False):
        self.pending.append(number_of(tensors[0]))

    def result(self):
        return self.predict(self.pending.pop(0))

    def infer(self, tensors, *, margin=False):
        return self.predict(number_of(tensors[0]))

    def predict(self, index):
        mask, draw = mask_of(index).copy(), np.random.default_rng(index)
        wrong = draw.random(mask.shape) < self._wrong * draw.random()
        mask[wrong] = draw.integers(0, 3, mask.shape)[wrong]
        return Prediction(mask, None, index not in self._bad, 1.0, 0.1)

    def close(self):
        pass


NUMBERS: dict[bytes, int] = {}


def number_of(tensor: np.ndarray) -> int:
    return NUMBERS[tensor.tobytes()]


@pytest.fixture(scope="module")
def setting(tmp_path_factory):
    """(data, recorded)"""
    from segexport import preprocess

    root = tmp_path_factory.mktemp("shards")
    data = recordings.make_data(root / "street", IMAGES)
    recorded = write_recording(root / "street.ref", data).as_reference()
    for sample in data:
        tensor, _ = preprocess.apply(recorded.artifact.manifest.preprocess, sample.image)
        NUMBERS[tensor.tobytes()] = sample.index
    return data, recorded


def measured(setting, share, folder, *, version="1.23.2") -> Measurement:
    """As `check.measure` does it, with sessions that need no process."""
    data, recorded = setting
    model = recorded.artifact.manifest
    sessions = {"good": Noisy(0.002), "poor": Noisy(0.5, bad=frozenset({3, 11}))}
    scorer = PixelScorer(model, share, ScoredClasses(recordings.LABELS, None), WORST)
    exports = [ModelUnderTest(name, found, model, model.preprocess) for name, found in sessions.items()]
    comparison = parity.compare(recorded.open(), exports, share, scorer)
    entries = []
    for name in sessions:
        tally = comparison.exports[name]
        shown = []
        for why, images in tally.shown.items():
            for image in sorted(images, key=lambda image: image[:2], reverse=True):
                sample = share.read(-image.negative_index)
                if why == "worst" and image.agreement == 1:
                    continue
                picture = f"images/{name}-{data.entries.index(share.entries[sample.index]):05d}.png"
                (folder / "images").mkdir(parents=True, exist_ok=True)
                (folder / picture).write_bytes(f"picture of {sample.name}".encode())
                shown.append(ShownImage(image=sample.name, agreement=image.agreement, chosen=why, picture=picture))
        more = [Check(name="audit.precision", verdict=Verdict.PASS, message="all fp32")]
        info = replace(INFO, version=version)
        operators = {"fp32": {"Conv": 3}}
        entries.append(Measured(subject(name), info, tally, shown=tuple(shown), operators=operators, more=more))
    broken = subject("broken", precision=Precision.INT8)
    error = WorkerCrashed("the process was killed by SIGABRT", cause="op <x>", hint="update")
    entries.append(Measured(broken, None, None, error=error))
    return Measurement(
        title="street",
        reference=recorded.recorded_run,
        exports=entries,
        comparison=comparison,
        judge=scorer.judge(comparison),
        labels=recordings.LABELS,
        dataset=DatasetInfo(path="street", split="val", images=len(data), labelled=True, fingerprint=data.fingerprint),
        environment={"cores": 2},
        notes=("a note",),
        groups=share.image_groups,
    )


def write_parts(setting, root, count):
    paths = []
    for index in range(1, count + 1):
        folder = root / f"pictures-{index}"
        path = root / f"part-{index}"
        share = setting[0].shard(index - 1, count)
        write_part(path, measured(setting, share, folder), folder, index=index, count=count, worst_images=WORST)
        paths.append(path)
    return paths


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")


@pytest.mark.parametrize("count", [1, 2, 5, IMAGES])
def test_the_merged_report_is_that_of_one_run(setting, tmp_path, count):
    whole = conclude(measured(setting, setting[0], tmp_path / "whole"))
    paths = write_parts(setting, tmp_path, count)
    merged = conclude(merge(paths[::-1], tmp_path / "merged"))
    for form in ("json", "markdown", "junit", "table"):
        assert render(merged, form) == render(whole, form), form
    pictures = {file.name: file.read_bytes() for file in (tmp_path / "whole" / "images").iterdir()}
    assert {file.name: file.read_bytes() for file in (tmp_path / "merged" / "images").iterdir()} == pictures
    shown = [image for export in merged.exports for image in (*export.worst_images, *export.other_images)]
    assert sorted(image.picture for image in shown) == sorted(f"images/{name}" for name in pictures)
    assert [image.chosen for image in shown].count("worst") == 2 * WORST
    assert {image.chosen for image in shown} == {"worst", "best", "random"}
    poor = next(export for export in merged.exports if export.name == "poor")
    assert "2 of 17 images" in next(check.message for check in poor.checks if check.name == "tripwire.finite")
    broken = next(export for export in merged.exports if export.name == "broken")
    assert (broken.verdict, "hint: update" in broken.error) == (Verdict.ERROR, True)


def test_groups_go_back_to_their_images(setting, tmp_path):
    """Five groups that are no runs of a shard: the merged intervals are over the same groups as in one run."""
    data, playback = setting
    entries = tuple(replace(entry, group=f"g{place // 4}") for place, entry in enumerate(data.entries))
    setting = replace(data, entries=entries, groups="column"), playback
    whole = conclude(measured(setting, setting[0], tmp_path / "whole"))
    parts = write_parts(setting, tmp_path, 3)
    merged = conclude(merge(parts, tmp_path / "merged"))
    assert render(merged, "json") == render(whole, "json")
    (poor,) = (export for export in merged.exports if export.name == "poor")
    (check,) = (check for check in poor.checks if check.name == "miou.delta")
    assert "on 17 images in 5 groups" in check.message
    recordings.rewrite(parts[1], header={"groups": ["g0"]})
    with pytest.raises(InputError, match="a part without the groups of its images"):
        merge(parts, tmp_path / "again")


class TestRefused:
    def test_a_part_that_is_missing_or_doubled(self, setting, tmp_path):
        paths = write_parts(setting, tmp_path, 4)
        with pytest.raises(InputError, match="3 parts are not the 4 of the run") as caught:
            merge([paths[0], paths[3], paths[3]], tmp_path / "merged")
        assert caught.value.cause == "missing: 2, 3; twice: 4"

    def test_a_part_of_another_run(self, setting, tmp_path):
        one, _ = write_parts(setting, tmp_path, 2)
        other = measured(setting, setting[0].shard(1, 2), tmp_path / "other")
        other = replace(other, dataset=other.dataset.model_copy(update={"fingerprint": "0" * 64}))
        write_part(tmp_path / "other.part", other, tmp_path / "other", index=2, count=2, worst_images=WORST)
        with pytest.raises(InputError, match="a part of another run") as caught:
            merge([one, tmp_path / "other.part"], tmp_path / "merged")
        assert "--shard" in caught.value.hint

    def test_another_runtime(self, setting, tmp_path):
        one, _ = write_parts(setting, tmp_path, 2)
        other = measured(setting, setting[0].shard(1, 2), tmp_path / "other", version="1.24.0")
        write_part(tmp_path / "other.part", other, tmp_path / "other", index=2, count=2, worst_images=WORST)
        with pytest.raises(InputError, match="good ran in another runtime") as caught:
            merge([one, tmp_path / "other.part"], tmp_path / "merged")
        assert "onnxruntime 1.24.0" in caught.value.cause

    def test_damage(self, setting, tmp_path):
        paths = write_parts(setting, tmp_path, 2)
        paths[1].write_bytes(paths[1].read_bytes()[:-50])
        with pytest.raises(InputError, match="not a part of a sharded check, or one that was cut off"):
            merge(paths, tmp_path / "merged")
        recordings.rewrite(paths[0], header={"schema_version": 9})
        with pytest.raises(InputError, match="schema_version is 9"):
            merge(paths[:1], tmp_path / "merged")

    def test_a_picture_that_would_land_elsewhere(self, setting, tmp_path):
        import json
        import zipfile

        (path,) = write_parts(setting, tmp_path, 1)
        with zipfile.ZipFile(path) as file:
            header = json.loads(file.read("header.json"))
        header["contestants"][1]["shown"][0]["picture"] = "images/../../outside.png"
        recordings.rewrite(path, header={"contestants": header["contestants"]})
        with pytest.raises(InputError, match="not a valid part"):
            merge([path], tmp_path / "merged")
        assert not (tmp_path / "outside.png").exists()

    @pytest.mark.parametrize("text", ["0/3", "4/3", "1", "a/b", "1/0", "-1/3", "1/3/5", ""])
    def test_no_shard(self, text):
        with pytest.raises(InputError, match="not a shard"):
            parse_shard(text)

    def test_a_shard(self):
        assert parse_shard("2/8") == (2, 8)


def test_parts_of_different_machines_say_so(setting, tmp_path):
    one, _ = write_parts(setting, tmp_path, 2)
    other = replace(measured(setting, setting[0].shard(1, 2), tmp_path / "other"), environment={"cores": 64})
    write_part(tmp_path / "other.part", other, tmp_path / "other", index=2, count=2, worst_images=WORST)
    report = conclude(merge([one, tmp_path / "other.part"], tmp_path / "merged"))
    assert any("2 different machines" in note for note in report.notes)
