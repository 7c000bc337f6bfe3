"""Right exports of models that Paddle's graph optimization gets wrong are judged right, live and from a recording."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from faults import make_images, make_networks
from installed import require
from PIL import Image
from workplace import Workplace

from segexport.artifact import digest_of

IMAGES = 12


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    """With exports of the networks that ONNX and Paddle-Lite both take, and images without labels."""
    require("paddle", "paddle2onnx", "onnx", "onnxruntime", "paddlelite")
    root = tmp_path_factory.mktemp("trial")
    made = Workplace(make_networks(root), root / "cache")
    make_images(root / "data", IMAGES)
    for name in ("dynamic_filter", "words"):
        for to in ("onnx", "paddle-lite"):
            done = made.segexport("export", name, "--to", to, "-o", f"{name}-{to}")
            assert done.code == 0, done.stderr
    return made


def check(place: Workplace, name: str, *options: str, reference: str = "") -> tuple:
    exports = [f"{name}-{to}" for to in ("onnx", "paddle-lite")]
    given = ("--reference", reference or name, "--data", "data", "-o", "out", *options)
    done = place.segexport("check", *exports, *given)
    assert "Traceback" not in done.stderr
    return done, place.report()


def masks_are_right(report: dict) -> bool:
    gates = [check for export in report["exports"] for check in export["checks"]]
    found = {entry["verdict"] for entry in gates if entry["name"].startswith(("agreement", "tripwire"))}
    return found <= {"PASS", "SKIPPED"} and all(export["agreement"] > 0.999 for export in report["exports"])


def test_exports_of_a_filter_that_onednn_keeps_are_right(place):
    done, report = check(place, "dynamic_filter", "--latency-seconds", "1")
    assert masks_are_right(report)
    assert done.code in (0, 1)  # times on a busy machine may decide nothing
    proof = report["reference"]["proof"]
    assert (proof["optimized"], proof["images"], proof["differing_images"]) == ("oneDNN", IMAGES, IMAGES - 1)
    assert report["reference"]["provider"] == "plain"
    assert any(f"oneDNN gives others on {IMAGES - 1} of {IMAGES} images" in n for n in report["reference"]["notes"])
    for export in report["exports"]:
        assert (export["latency_ratio"], export["latency_baseline"]) == (None, "")
        (told,) = [entry for entry in export["checks"] if entry["name"] == "latency.ratio"]
        assert "the reference had to run without graph optimization" in told["message"]
        assert "reference.trial" not in {entry["name"] for entry in export["checks"]}
    page = (place.root / "out" / "report.html").read_text()
    assert "without graph optimization, so no latency ratio is taken to it" in page


def test_a_crash_in_the_passes_does_not_end_the_check(place):
    _, report = check(place, "words", "--latency-seconds", "1")
    assert masks_are_right(report)
    assert "SIGSEGV" in report["reference"]["proof"]["fault"]
    assert report["reference"]["latency"]["inference_ms"]["p50"] > 0


def test_nothing_is_watched_where_nothing_is_timed(place):
    done, report = check(place, "words", "--latency-seconds", "0")
    assert done.code == 0, done.stderr
    assert (report["verdict"], report["reference"]["proof"]) == ("PASS", None)


def test_wrong_exports_confirm_the_reference(place):
    for to in ("onnx", "paddle-lite"):
        shutil.copytree(place.root / f"words-{to}", place.root / f"other-{to}")
    done, report = check(place, "other", "--latency-seconds", "0", reference="dynamic_filter")
    assert done.code == 1
    for export in report["exports"]:
        assert export["verdict"] == "FAIL"
        (trial,) = [entry for entry in export["checks"] if entry["name"] == "reference.trial"]
        assert trial["verdict"] == "PASS"
        assert "the reference is confirmed: run again in a fresh process on the 3 images" in trial["message"]
        assert "it agrees with other-" in trial["message"]


# -- recordings --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def recorded(place) -> Path:
    done = place.segexport(
        "reference", "record", "dynamic_filter", "--data", "data", "--latency-seconds", "0", "-o", "proven.ref"
    )
    assert done.code == 0, done.stderr
    return place.root / "proven.ref"


def test_a_recording_carries_its_proof(place, recorded):
    with zipfile.ZipFile(recorded) as file:
        header = json.loads(file.read("header.json"))
    assert header["runner"]["provider"] == "plain"
    assert header["noise"]["differing_pixels"] == 0
    proof = header["proof"]
    assert (proof["images"], proof["differing_images"], proof["fault"]) == (IMAGES, IMAGES - 1, "")
    assert 0 < proof["agreement_worst"] < proof["agreement"] < 0.99
    done, report = check(place, "dynamic_filter", "--latency-seconds", "0", reference="proven.ref")
    assert done.code == 0, done.stderr
    assert report["reference"]["proof"] == proof
    shown = place.segexport("reference", "show", "proven.ref")
    assert f"oneDNN gives others on {IMAGES - 1} of {IMAGES} images" in " ".join(shown.stdout.split())


def as_before(path: Path, out: Path, *, spoil: bool) -> None:
    """The recording as versions without a proof made it; with `spoil`, wrong from the second image on."""
    with zipfile.ZipFile(path) as file:
        members = {name: file.read(name) for name in file.namelist()}
    header = json.loads(members.pop("header.json"))
    del header["proof"]
    header["runner"] |= {"provider": "oneDNN", "notes": []}
    if spoil:
        for index in range(1, IMAGES):
            name = f"images/{index:05d}/mask.png"
            mask = np.array(Image.open(io.BytesIO(members[name])))
            stream = io.BytesIO()
            Image.fromarray(np.where(np.arange(mask.shape[1]) < 20, (mask + 1) % 4, mask).astype(np.uint8)).save(
                stream, "PNG"
            )
            members[name] = stream.getvalue()
            header["members"][name] = {
                "sha256": hashlib.sha256(members[name]).hexdigest(),
                "size_bytes": len(members[name]),
            }
    header.pop("digest")
    header["digest"] = digest_of(header)
    with zipfile.ZipFile(out, "w") as file:
        for name, data in {**members, "header.json": json.dumps(header).encode()}.items():
            file.writestr(name, data)


def test_an_old_recording_is_read_and_said_to_be_unproven(place, recorded):
    as_before(recorded, place.root / "old.ref", spoil=False)
    done, report = check(place, "dynamic_filter", "--latency-seconds", "0", reference="old.ref")
    assert (done.code, report["verdict"], report["reference"]["proof"]) == (0, "PASS", None)
    note = "the recording's masks are those of Paddle's optimized program (oneDNN), and nothing proves"
    assert any(found.startswith(note) for found in report["reference"]["notes"])


def test_an_old_recording_that_right_exports_contradict_gives_no_verdict(place, recorded):
    as_before(recorded, place.root / "wrong.ref", spoil=True)
    done, report = check(place, "dynamic_filter", "--latency-seconds", "0", reference="wrong.ref")
    assert (done.code, report["verdict"]) == (2, "ERROR")
    for export in report["exports"]:
        (trial,) = [entry for entry in export["checks"] if entry["name"] == "reference.trial"]
        assert trial["verdict"] == "ERROR"
        assert "exports of two formats contradict it in the same way" in trial["message"]
        assert "segexport reference record" in trial["message"]
