"""`segexport compress` on the built-in example: what it leaves, what it refuses, and that nothing is done twice."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path

import pytest
import yaml

COMMON = ("compress", "model", "--data", "data", "--split", "all", "--no-train", "--screen-images", "4")
SAME = (*COMMON, "--verdict-split", "all")
WRITTEN = {"exports", "journal.jsonl", "recipe.yaml", "search.html", "search.json"}


def summary(workplace, output: str = "out") -> dict:
    return json.loads((workplace.root / output / "search.json").read_text())


def test_without_time_fp32_is_shipped_and_said(workplace):
    done = workplace.segexport(
        *SAME, "--objective", "size", "--budget-minutes", "0.001", "--latency-seconds", "0", "-o", "out"
    )
    assert done.code == 0, done.stderr
    sentence = "fp32 is shipped: nothing that loses at most 0.005 mIoU is smaller than it, of 0 candidates that could"
    assert sentence in done.stdout
    assert "not measured: precision: 3 of 3 tries left out" in done.stdout
    assert "the search and the verdict share images" in done.stderr
    found = {path.name for path in (workplace.root / "out").iterdir()}
    assert found >= WRITTEN | {"report.json", "report.html"}
    assert [export["name"] for export in workplace.report()["exports"]] == ["fp32"]
    page = (workplace.root / "out" / "search.html").read_text()
    assert "<svg" in page
    assert "http" not in page.split("</style>")[1].split("<svg")[0]
    assert summary(workplace)["chosen"] == ""

    again = workplace.segexport(
        *SAME, "--objective", "size", "--budget-minutes", "0.001", "--latency-seconds", "0", "-o", "out"
    )
    assert again.code == 0, again.stderr
    assert "1 measurements of an earlier run reused" in again.stderr
    assert (summary(workplace)["made"], summary(workplace)["found"]) == (0, 1)


def test_images_without_labels(workplace):
    """The original's masks are the truth then, and the sentence at the end is the same."""
    arguments = ("compress", "model", "--data", "data/images", "--verdict-split", "val", "--screen-images", "4")
    done = workplace.segexport(
        *arguments, "--objective", "flops", "--budget-minutes", "0.001", "--latency-seconds", "0", "-o", "out"
    )
    assert done.code == 0, done.stderr
    (fp32,) = summary(workplace)["tries"]
    assert (fp32["miou"], fp32["miou_delta"], fp32["agreement"]) == (1.0, 0.0, 1.0)
    assert "fp32 is shipped" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (COMMON, "data, split 'all': 16 images are too few for a search and a separate verdict"),
        ((*COMMON, "--verdict-split", "val"), "data, split 'val': 3 images for the verdict"),
        ((*SAME, "--calibration-split", "nope"), "data/nope.txt: no such list"),
        ((*SAME, "--latency-seconds", "0"), "--latency-seconds 0: --objective latency needs times"),
        (
            (*SAME, "--to", "paddle-lite"),
            "--to paddle-lite --objective latency: times of the x86 twins do not represent a phone",
        ),
        (
            ("compress", "nothing", "--data", "data", "--split", "all", "--verdict-split", "all"),
            "nothing: no such file",
        ),
    ],
)
def test_what_cannot_be_searched(bare, arguments, error):
    done = bare.segexport(*arguments, "-o", "out")
    assert done.code == 2
    assert done.error.startswith(error), done.stderr
    assert "Traceback" not in done.stderr
    assert not (bare.root / "out").exists()


@pytest.mark.slow
def test_a_search_that_is_killed_goes_on_and_its_recipe_gives_the_same_export(fresh):
    arguments = (*SAME, "--budget-minutes", "30", "--latency-seconds", "3", "-o", "out")
    process = subprocess.Popen(
        fresh.command(*arguments),
        cwd=fresh.root,
        env=fresh.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )

    def journal() -> list[str]:
        found = list(Path(fresh.cache).glob("searches/*/*.jsonl"))
        return found[0].read_text().splitlines() if found else []

    try:
        end = time.monotonic() + 300
        while len(journal()) < 5 and process.poll() is None and time.monotonic() < end:
            time.sleep(0.2)
        assert process.poll() is None
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    before = [json.loads(line) for line in journal()]
    assert not (fresh.root / "out").exists()

    done = fresh.segexport(*arguments, timeout=3000)
    assert done.code == 0, done.stderr
    found = summary(fresh)
    assert found["found"] == len(before)
    assert [json.loads(line) for line in journal()][: len(before)] == before
    chosen = next(one for one in found["tries"] if one["key"] == found["chosen"])
    assert chosen["reason"] == "chosen"
    assert chosen["miou_delta"] >= -0.005
    assert all(one["reason"] for one in found["tries"])

    again = fresh.segexport(*arguments, timeout=3000)
    assert again.code == 0
    assert summary(fresh)["made"] == 0
    assert "done in" not in again.stderr

    recipe = yaml.safe_load((fresh.root / "out" / "recipe.yaml").read_text())
    assert [export["name"] for export in recipe["exports"]] == ["fp32", "compressed"]
    rerun = fresh.segexport("run", "out/recipe.yaml", "-o", "rerun", timeout=600)
    assert "nothing to do" in rerun.stderr
    digests = [
        json.loads((fresh.root / place / "report.json").read_text())["exports"][1]["digest"]
        for place in ("out", "rerun")
    ]
    assert digests[0] == digests[1]
