"""Recorded references: what goes in comes out, damage and misuse are told, and nothing passes by silence."""

from __future__ import annotations

import io
import shutil
import zipfile

import numpy as np
import pytest
import recordings
from PIL import Image as Pillow
from recordings import margin_of, mask_of, subject, write_recording

from segexport.commands.check import open_reference
from segexport.data.dataset import Dataset
from segexport.errors import InputError
from segexport.exporter.import_options import ImportOptions
from segexport.measure import latency
from segexport.measure.environment import now
from segexport.measure.parity import ModelUnderTest, compare
from segexport.recipe.limits import Limits
from segexport.recipe.schema import CheckRecipe
from segexport.references.archive import npy_array, npy_bytes
from segexport.references.logits import POINTS, deviation, digest_logits, point_places
from segexport.references.recorded_reference import RecordedReference, effective
from segexport.references.reference_file import read_reference
from segexport.spec import Pad, Precision, Preprocess, Resize, TensorSpec, score_output
from segexport.task.base import ScoredClasses
from segexport.task.semantic.certainty import decided_pixels
from segexport.task.semantic.scorer import PixelScorer


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """(data set, recording) that no test may change."""
    root = tmp_path_factory.mktemp("recorded")
    data = recordings.make_data(root / "street")
    write_recording(root / "street.ref", data)
    return data, root / "street.ref"


@pytest.fixture
def copy(made, tmp_path):
    """(data set, recording) of a test's own."""
    shutil.copytree(made[0].root, tmp_path / "street")
    shutil.copyfile(made[1], tmp_path / "street.ref")
    return Dataset.open(tmp_path / "street"), tmp_path / "street.ref"


def header_of(text: str) -> bytes:
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


class TestContent:
    def test_masks_and_certainty_come_back_to_the_last_pixel(self, made):
        found = read_reference(made[1])
        for index in range(len(found.header.images)):
            assert np.array_equal(found.mask(index), mask_of(index))
            assert np.array_equal(found.decided(index), decided_pixels(margin_of(index)))
            assert found.mask(index).dtype == np.uint8

    def test_the_scores_are_those_of_the_recorded_confusions(self, made):
        found = read_reference(made[1])
        assert found.scores().miou == 1.0  # labels are the masks themselves, but for the ignored row
        pixels = (recordings.HEIGHT - 1) * recordings.WIDTH * len(found.header.images)
        assert found.scores().pixels == pixels

    def test_equal_recordings_are_equal_bytes(self, made, tmp_path):
        write_recording(tmp_path / "again.ref", made[0])
        assert (tmp_path / "again.ref").read_bytes() == made[1].read_bytes()

    def test_nothing_is_pickled_and_pictures_are_stored(self, made):
        with zipfile.ZipFile(made[1]) as file:
            for entry in file.infolist():
                assert entry.filename.endswith((".png", ".npy", ".json"))
                assert (entry.compress_type == zipfile.ZIP_STORED) == entry.filename.endswith(".png")

    def test_arrays_of_a_size_that_is_not_there_are_not_allocated(self):
        stream = io.BytesIO()
        header = {"descr": "<i4", "fortran_order": False, "shape": (1 << 40, 1 << 20)}
        np.lib.format.write_array_header_1_0(stream, header)
        for data in (
            stream.getvalue() + bytes(16),
            npy_bytes(np.zeros((2, 2), np.int32))[:-1],
            b"",
            b"hello",
            header_of("("),
        ):
            with pytest.raises(InputError, match=r"^x: not an array"):
                npy_array(data, "x")

    def test_objects_are_not_unpickled(self):
        stream = io.BytesIO()
        np.save(stream, np.array([{"a": 1}], dtype=object), allow_pickle=True)
        with pytest.raises(InputError, match="not an array"):
            npy_array(stream.getvalue(), "x")

    def test_an_existing_file_is_not_overwritten(self, made):
        with pytest.raises(InputError, match="exists"):
            write_recording(made[1], made[0])

    def test_a_failed_recording_leaves_nothing(self, made, tmp_path):
        from segexport.references.reference_file import new_reference

        with pytest.raises(InputError, match="planned"), new_reference(tmp_path / "x.ref"):
            raise InputError("planned")
        assert list(tmp_path.iterdir()) == []


class TestDamage:
    """Every one is an InputError: exit 2, never a traceback, never a pass."""

    def test_truncated(self, copy):
        data = copy[1].read_bytes()
        for size in (2, 100, len(data) // 2, len(data) - 1):
            copy[1].write_bytes(data[:size])
            with pytest.raises(InputError, match=r"street\.ref: not a recorded reference, or one that was cut off"):
                read_reference(copy[1])

    @pytest.mark.parametrize("content", [b"", b"PK", b"hello, world", b"\x89PNG\r\n\x1a\n" + bytes(100)])
    def test_other_files(self, tmp_path, content):
        path = tmp_path / "x.ref"
        path.write_bytes(content)
        with pytest.raises(InputError, match="not a recorded reference"):
            read_reference(path)

    def test_missing(self, tmp_path):
        with pytest.raises(InputError, match="no such file") as caught:
            read_reference(tmp_path / "x.ref")
        assert "segexport reference record" in caught.value.hint

    def test_another_zip(self, tmp_path):
        with zipfile.ZipFile(tmp_path / "x.ref", "w") as file:
            file.writestr("readme.txt", "hello")
        with pytest.raises(InputError, match="not a recorded reference") as caught:
            read_reference(tmp_path / "x.ref")
        assert "header.json" in caught.value.cause

    def test_an_edited_mask(self, copy):
        stream = io.BytesIO()
        Pillow.fromarray(mask_of(3)).save(stream, "PNG", optimize=True)
        recordings.rewrite(copy[1], members={"images/00000/mask.png": stream.getvalue()})
        with pytest.raises(InputError, match="edited or damaged") as caught:
            read_reference(copy[1])
        assert "images/00000/mask.png" in caught.value.cause

    def test_an_edited_header(self, copy):
        recordings.rewrite(copy[1], header={"created": "2031-01-01T00:00:00+00:00"}, sign=False)
        with pytest.raises(InputError, match="edited or damaged") as caught:
            read_reference(copy[1])
        assert "another digest" in caught.value.cause

    def test_a_flipped_bit_anywhere(self, copy):
        data = bytearray(copy[1].read_bytes())
        for place in range(50, len(data) - 50, len(data) // 40):
            changed = bytearray(data)
            changed[place] ^= 4
            copy[1].write_bytes(changed)
            try:
                found = read_reference(copy[1])
            except InputError:
                continue
            # What zip itself does not use (times, attributes) may flip unseen; the contents may not.
            assert found.digest == read_reference(copy[1]).digest
            assert all(np.array_equal(found.mask(index), mask_of(index)) for index in range(12))

    def test_a_newer_version(self, copy):
        recordings.rewrite(copy[1], header={"schema_version": 2})
        with pytest.raises(InputError, match="schema_version is 2, this segexport reads 1") as caught:
            read_reference(copy[1])
        assert "newer version" in caught.value.cause
        assert "update segexport" in caught.value.hint

    def test_another_kind(self, copy):
        recordings.rewrite(copy[1], header={"kind": "segexport-part"})
        with pytest.raises(InputError, match="not a recorded reference") as caught:
            read_reference(copy[1])
        assert "segexport-part" in caught.value.cause

    def test_a_member_more_or_less(self, copy):
        recordings.rewrite(copy[1], members={"extra.txt": b"x"})
        with pytest.raises(InputError, match="edited or damaged"):
            read_reference(copy[1])

    def test_signed_nonsense(self, copy):
        for header, cause in (({"noise": None}, "noise"), ({"images": []}, "images"), ({"surprise": 1}, "surprise")):
            path = copy[1].with_name(f"{cause}.ref")
            shutil.copyfile(copy[1], path)
            recordings.rewrite(path, header=header)
            with pytest.raises(InputError, match="not a valid reference") as caught:
                read_reference(path)
            assert cause in caught.value.cause

    def test_an_image_without_its_mask(self, copy):
        images = [image.model_dump() for image in read_reference(copy[1]).header.images]
        recordings.rewrite(copy[1], header={"images": [*images, images[0] | {"name": "images/more.png"}]})
        with pytest.raises(InputError, match="not a valid reference") as caught:
            read_reference(copy[1])
        assert "images/00012" in caught.value.cause

    def test_which_file_is_a_recording(self, copy):
        data, path = copy
        assert isinstance(open_reference(path, data, data, CheckRecipe(), ImportOptions()), RecordedReference)
        path.rename(path.with_name("any name"))
        assert isinstance(
            open_reference(path.with_name("any name"), data, data, CheckRecipe(), ImportOptions()), RecordedReference
        )
        path.write_bytes(b"")
        with pytest.raises(InputError, match="not a recorded reference"):
            open_reference(path, data, data, CheckRecipe(), ImportOptions())
        (path.with_name("__model__")).write_bytes(b"\x0a")
        with pytest.raises(InputError, match="program without its parameters"):
            open_reference(path.with_name("__model__"), data, data, CheckRecipe(), ImportOptions())


class TestData:
    def test_the_same_images_are_accepted(self, made):
        read_reference(made[1]).as_reference().require_data(made[0])

    def test_another_picture(self, copy):
        data, path = copy
        Pillow.new("RGB", (recordings.WIDTH, recordings.HEIGHT)).save(data.root / "images" / "3.png")
        with pytest.raises(InputError, match="recorded with other images") as caught:
            read_reference(path).as_reference().require_data(Dataset.open(data.root))
        assert "1 other than recorded: images/3.png (image)" in caught.value.cause

    def test_another_label(self, copy):
        data, path = copy
        shutil.copyfile(data.root / "labels" / "4.png", data.root / "labels" / "3.png")
        with pytest.raises(InputError) as caught:
            read_reference(path).as_reference().require_data(Dataset.open(data.root))
        assert "images/3.png (label)" in caught.value.cause

    def test_fewer_and_other_images(self, copy):
        data, path = copy
        lines = (data.root / "val.txt").read_text().splitlines()
        shutil.copyfile(data.root / "images" / "0.png", data.root / "images" / "new.png")
        (data.root / "val.txt").write_text("\n".join([*lines[2:], "images/new.png labels/0.png"]))
        with pytest.raises(InputError) as caught:
            read_reference(path).as_reference().require_data(Dataset.open(data.root))
        assert "1 not recorded: images/new.png" in caught.value.cause
        assert "2 recorded and not here: images/0.png, images/1.png" in caught.value.cause

    def test_other_class_names(self, copy):
        data, path = copy
        (data.root / "labels.txt").write_text("ground\nsky\ntree\n")
        with pytest.raises(InputError, match="recorded with other images") as caught:
            read_reference(path).as_reference().require_data(Dataset.open(data.root))
        assert "class names" in caught.value.cause


class TestFit:
    @pytest.fixture
    def recorded(self, made):
        return read_reference(made[1]).as_reference()

    def test_an_export_of_the_model(self, recorded):
        recorded.require_fit([subject(), subject("int8", precision=Precision.INT8)])

    def test_an_export_of_another_model(self, recorded):
        with pytest.raises(InputError, match=r"^other: made from another model than the one recorded"):
            recorded.require_fit([subject("other", source={"model": "a" * 64, "params": "d" * 64})])

    def test_an_export_that_does_not_say(self, recorded):
        with pytest.raises(InputError, match="does not record which model it was made from"):
            recorded.require_fit([subject("bare", source=None)])

    def test_another_mean(self, recorded):
        with pytest.raises(InputError, match="another preprocessing") as caught:
            recorded.require_fit([subject(preprocess=Preprocess(mean=(0.4, 0.5, 0.5)))])
        assert "mean (0.4, 0.5, 0.5), recorded (0.5, 0.5, 0.5)" in caught.value.cause

    def test_a_resize_to_the_size_that_images_have_changes_nothing(self, recorded):
        same = Preprocess(geometry=(Resize(width=recordings.WIDTH, height=recordings.HEIGHT),))
        recorded.require_fit([subject(preprocess=same)])
        other = Preprocess(geometry=(Resize(width=recordings.WIDTH, height=recordings.HEIGHT + 2),))
        with pytest.raises(InputError, match="another preprocessing"):
            recorded.require_fit([subject(preprocess=other)])

    def test_effective_keeps_what_changes_any_image(self):
        contract = Preprocess(geometry=(Pad(width=8, height=8), Resize(width=8, height=8)))
        assert effective(contract, {(8, 8)}).geometry == ()
        assert effective(contract, {(8, 8), (4, 8)}).geometry == (Pad(width=8, height=8),)

    def test_a_margin_below_the_noise_is_refused(self, made, tmp_path):
        recorded = write_recording(tmp_path / "noisy.ref", made[0], gpu=True, noise_miou_delta=-0.0007).as_reference()
        with pytest.raises(InputError, match=r"miou_margin is 0\.0005, the reference differs from itself by 0\.00070"):
            recorded.require_fit([subject()])
        recorded.require_fit([subject(limits=Limits(miou_margin=0.002))])


class _Shifted:
    """An export that gives the reference's mask, one row lower; `lost` pixels of it are wrong."""

    def __init__(self, names):
        self._names, self._turn = names, -1

    def submit(self, tensors, *, margin=False):
        self._turn += 1

    def result(self):
        from segexport.runtimes.base import Prediction

        mask = np.roll(mask_of(min(self._turn, len(self._names) - 1)), 1, axis=0)
        return Prediction(mask, None, True, 1.0, 0.1)

    def infer(self, tensors, *, margin=False):
        from segexport.runtimes.base import Prediction

        return Prediction(np.roll(mask_of(0), 1, axis=0), None, True, 1.0, 0.1)


def test_a_recording_counts_as_the_model_did(made):
    """The same tallies, to the last bit, whether the model's own margins are available or what was recorded of them."""
    from segexport.runtimes.base import Prediction

    data, path = made
    recorded = read_reference(path).as_reference()
    model = recorded.artifact.manifest
    places = {entry.image: index for index, entry in enumerate(data.entries)}

    def live(name):
        return Prediction(mask_of(places[name]), margin_of(places[name]), True, 2.0, 0.5)

    tallies = []
    for predict in (live, recorded.predict):
        from segexport.references.recorded_reference import RecordedSession

        session = RecordedSession(recorded.info, predict)
        reference = ModelUnderTest("reference", session, model, model.preprocess, session.choose)
        export = ModelUnderTest("x", _Shifted(list(places)), model, model.preprocess)
        scorer = PixelScorer(model, data, ScoredClasses(model.labels, None), 10)
        tallies.append(compare(reference, [export], data, scorer).exports["x"])
    one, two = tallies
    assert one.decided_agreement == two.decided_agreement
    assert 0 < np.mean(one.decided_agreement) < 1
    assert one.agreement == two.agreement
    assert np.array_equal(one.class_counts, two.class_counts)


def test_who_made_it_is_told_in_every_report(made, tmp_path):
    from report_sample import passing_report

    from segexport.report import render

    report = passing_report()
    for gpu, words in ((False, "the CPU (Some CPU), as a substitute for a GPU"), (True, "Some GPU, driver 550.1")):
        path = tmp_path / f"{gpu}.ref"
        run = write_recording(path, made[0], gpu=gpu).as_reference().recorded_run
        reference = report.reference.model_copy(
            update={"recorded": run.recorded, "is_gpu": run.is_gpu, "device": run.info.device}
        )
        told = report.model_copy(update={"reference": reference})
        for form in ("table", "markdown", "html", "junit", "annotations"):
            text = " ".join(render(told, form).replace("&#34;", '"').split())
            assert words in text, form


def test_times_are_shown_as_those_of_their_device(made, tmp_path):
    run = write_recording(tmp_path / "gpu.ref", made[0], gpu=True).as_reference().recorded_run
    assert run.times.device == "Some GPU"
    assert run.times.peak_rss_bytes == 222_000_000
    assert run.times.inference_ms.p50 == pytest.approx(3.1)
    assert run.timing.sessions_ms.shape == (6, 2, 2)
    assert run.timing.sessions_ms[1].tolist() == [[3.02, 3.1], [3.03, 3.1]]


def test_times_recorded_before_sessions_were_counted_are_those_of_one(copy):
    header = read_reference(copy[1]).archive.header
    times = {name: value for name, value in header["times"].items() if name != "sessions"}
    recordings.rewrite(copy[1], header={"times": times})
    assert read_reference(copy[1]).as_reference().timing.sessions_ms.shape == (1, 12, 2)
    recordings.rewrite(copy[1], header={"times": {**times, "sessions": 5}})
    with pytest.raises(InputError, match="not a valid reference") as caught:
        read_reference(copy[1])
    assert caught.value.cause == "12 blocks of times are not those of 5 sessions"


def test_recorded_times_gate_on_the_same_device_only(made):
    from dataclasses import replace

    from segexport.judge.results import Measured
    from segexport.judge.times import ratio_to_reference

    run = read_reference(made[1]).as_reference().recorded_run

    def ratio(run, **other):
        timing = latency.Timing(sessions_ms=2 * run.timing.sessions_ms[:5])
        info = replace(run.info, runtime="onnxruntime", **other)
        return ratio_to_reference(run, Measured(subject(), info, timing=timing))

    found = ratio(run)
    assert found.value == pytest.approx(2, rel=0.02)
    assert found.interval[0] < found.value < found.interval[1]
    assert ratio(run, device="Another CPU") is None
    assert ratio(run, threads=2) is None
    beside = replace(run, recorded=None, timing=replace(run.timing, sessions_ms=run.timing.sessions_ms[:5]))
    assert ratio(beside, threads=2).interval == pytest.approx((2, 2))


class TestLogits:
    spec = TensorSpec(name="y", dtype="float32", shape=(1, 3, -1, -1), layout="NCHW", semantics="logits")

    def test_the_kept_places_are_middles_of_equal_parts(self):
        assert point_places(16).tolist() == [1, 3, 5, 7, 9, 11, 13, 15]
        assert point_places(3).tolist() == [0, 0, 0, 1, 1, 2, 2, 2]

    def test_deviation_is_in_standard_deviations_of_the_scores(self):
        scores = np.random.default_rng(0).normal(0, 5, (1, 3, 32, 32)).astype(np.float32)
        kept = digest_logits(scores, self.spec, points=True)
        assert len(kept.points) == 3
        assert len(kept.points[0]) == POINTS**2
        assert deviation(scores, self.spec, kept) < 1e-6
        assert deviation(scores + 0.5, self.spec, kept) == pytest.approx(0.1, rel=0.05)
        assert deviation(scores[:, :, :16], self.spec, kept) == float("inf")
        assert deviation(scores * np.nan, self.spec, kept) == float("inf")

    def test_the_layout_does_not_matter(self):
        scores = np.random.default_rng(0).normal(size=(1, 3, 8, 9)).astype(np.float32)
        last = self.spec.model_copy(update={"layout": "NHWC"})
        assert digest_logits(scores, self.spec) == digest_logits(scores.transpose(0, 2, 3, 1), last)

    def test_no_digest_of_no_numbers(self):
        assert digest_logits(np.full((1, 3, 4, 4), np.inf, np.float32), self.spec) is None

    def test_classes_have_no_scores(self):
        mask = self.spec.model_copy(update={"semantics": "class_index"})
        other = self.spec.model_copy(update={"semantics": "other"})
        assert score_output([other, self.spec]) == 1
        assert score_output([mask, self.spec]) is None


class TestClock:
    def test_a_fixed_moment(self, monkeypatch):
        monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
        assert now() == "2023-11-14T22:13:20+00:00"

    @pytest.mark.parametrize("value", ["soon", "", "9" * 30])
    def test_no_moment(self, monkeypatch, value):
        monkeypatch.setenv("SOURCE_DATE_EPOCH", value)
        with pytest.raises(InputError, match="SOURCE_DATE_EPOCH"):
            now()
