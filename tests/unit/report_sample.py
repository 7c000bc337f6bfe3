"""A report that was never measured: every verdict, every kind of gap, and names that try to break out.

Run as a program, this writes the golden files anew; read the difference before it is committed.
"""

from __future__ import annotations

from pathlib import Path

from segexport.judge.gates import values_check
from segexport.report.schema import DatasetInfo, ExportResult, Latency, Percentiles, ReferenceResult, Report, ShownImage
from segexport.spec import Label
from segexport.verdict import Check, Verdict

SCRIPT = "<script>alert('x')</script>"
EVIL_NAME = f"{SCRIPT}|`rm -rf`|@octocat [link](javascript:alert(1)) &amp; \x1b[31mred\x07 ]]>"
LONG_NAME = "a-very-long-name-of-an-export-that-somebody-thought-was-a-good-idea-int8-per-channel-percentile"


def full_report() -> Report:
    """Exports: PASS, PASS (not run here), FAIL, INCONCLUSIVE, ERROR (hostile), ERROR without any check, SKIPPED."""
    return Report(
        segexport_version="0.1.0",
        created="2024-05-06T07:08:09Z",
        title="street: 7 exports",
        verdict=Verdict.ERROR,
        metric="mIoU is the mean over the classes that occur in the masks or the labels, pooled over all images",
        labels=(
            Label(id=0, name="road", rgb=(128, 64, 128)),
            Label(id=1, name="天空", rgb=(70, 130, 180)),
            Label(id=2, name=SCRIPT, rgb=(220, 20, 60)),
        ),
        dataset=DatasetInfo(
            path="data/street",
            split="val",
            images=101,
            labelled=True,
            fingerprint="f" * 64,
            label_map={"sidewalk": "pavement", "person": "pedestrian"},
        ),
        reference=ReferenceResult(
            name="street_net",
            runtime="paddle",
            provider="cpu",
            device="Some CPU @ 2.0 GHz",
            digest="d" * 64,
            miou=0.6365,
            class_iou=(0.95, 0.5, None),
            size_bytes=1_534_000,
            latency=_latency(41.0, 1),
            gpu_latency=Latency(inference_ms=Percentiles(p50=3.21, p90=3.3, p99=3.9), device="Some GPU"),
        ),
        exports=(_passed(), _chinese(), _failed(), _undecided(), _crashed(), _unchecked(), _skipped()),
        environment={"python": "3.10.0", "packages": {"onnxruntime": "1.23.2", "numpy": "1.26.4"}, "cpus": 2},
        notes=("class “pole” has too few images to gate", SCRIPT, "see https://example.com/#1, or ask @octocat"),
    )


def passing_report() -> Report:
    """One export, and it passes."""
    report = full_report()
    return report.model_copy(update={"exports": report.exports[:1], "verdict": Verdict.PASS, "notes": ()})


def _latency(median: float, threads: int) -> Latency:
    samples = tuple(median * (0.96 + 0.01 * (index * 7 % 11)) for index in range(60))
    return Latency(
        inference_ms=Percentiles(p50=median, p90=median * 1.05, p99=median * 1.2),
        samples_ms=samples,
        sessions_ms=tuple(median * (0.99 + 0.005 * index) for index in range(5)),
        load_ms=120.5,
        first_ms=median * 2,
        preprocess_ms=1.5,
        postprocess_ms=0.25,
        peak_rss_bytes=123_456_789,
        threads=threads,
        device="Some CPU @ 2.0 GHz",
    )


def _passed() -> ExportResult:
    return ExportResult(
        name="onnx-fp32",
        format="onnx",
        precision="fp32",
        runtime="onnxruntime",
        provider="CPUExecutionProvider",
        device="Some CPU @ 2.0 GHz",
        verdict=Verdict.PASS,
        miou=0.63649,
        miou_reference=0.6365,
        miou_delta=-0.00001,
        miou_delta_interval=(-0.00005, 0.00003),
        agreement=0.999961,
        agreement_worst=0.99951,
        class_iou=(0.95, 0.49998, None),
        class_iou_delta=(0.0, -0.00002, None),
        size_bytes=1_498_112,
        latency=_latency(20.5, 1),
        latency_ratio=0.5,
        latency_ratio_interval=(0.49, 0.51),
        latency_baseline="the reference on this CPU",
        checks=(
            Check(name="tripwire.finite", verdict=Verdict.PASS, message="all outputs are finite"),
            Check(
                name="miou.delta",
                verdict=Verdict.PASS,
                message="mIoU changed by -0.0000, allowed is -0.0050",
                value=-0.00001,
                interval=(-0.00005, 0.00003),
                limit=-0.005,
            ),
            Check(
                name="latency.p99",
                verdict=Verdict.FAIL,
                message="p99 is 1.2 x p50: the machine was busy",
                value=1.2,
                limit=1.1,
                gated=False,
            ),
        ),
        worst_images=(
            ShownImage(image="images/0001.jpg", agreement=0.99951, miou=0.61, miou_reference=0.6101),
            ShownImage(image=SCRIPT, agreement=0.9998, picture="../outside.png"),
        ),
        other_images=(
            ShownImage(image="images/0007.jpg", agreement=1.0, chosen="best"),
            ShownImage(image="images/0042.jpg", agreement=0.99997, chosen="random"),
        ),
        operators={"float32": {"Conv": 40, "Resize": 2}},
    )


def _chinese() -> ExportResult:
    return ExportResult(
        name="移动端模型-fp16",
        format="paddle-lite",
        precision="fp16",
        runtime="paddle-lite",
        provider="opencl",
        device="某手机 GPU",
        verdict=Verdict.PASS,
        miou=0.6366,
        miou_reference=0.6365,
        miou_delta=0.0001,
        miou_delta_interval=(-0.0002, 0.0004),
        agreement=1.0,
        size_bytes=812_000,
        latency_ms=Percentiles(p50=123.4, p90=130.0, p99=140.0),
        checks=(
            Check(name="agreement.pixels", verdict=Verdict.PASS, message="100 % of the pixels agree"),
            values_check("the twin ran | the ARM file was compiled only"),
        ),
    )


def _failed() -> ExportResult:
    return ExportResult(
        name=LONG_NAME,
        format="onnx",
        precision="int8",
        runtime="onnxruntime",
        provider="CPUExecutionProvider",
        verdict=Verdict.FAIL,
        miou=0.61,
        miou_reference=0.6365,
        miou_delta=-0.0265,
        miou_delta_interval=(-0.031, -0.022),
        agreement=0.9512,
        size_bytes=420_000,
        latency_ms=Percentiles(p50=0.456, p90=0.5, p99=0.6),
        latency_ratio=1.07,
        latency_baseline="the reference on this CPU",
        checks=(
            Check(
                name="latency.ratio",
                verdict=Verdict.INCONCLUSIVE,
                message="1.07 x (0.97 to 1.16): faster or slower, the timings do not say",
                value=1.07,
                interval=(0.97, 1.16),
                limit=1.0,
            ),
            Check(
                name="miou.delta",
                verdict=Verdict.FAIL,
                message="mIoU fell by 0.0265 (0.0220 to 0.0310), allowed is 0.0100;\n101 images show 0.0040",
                value=-0.0265,
                interval=(-0.031, -0.022),
                limit=-0.01,
            ),
        ),
    )


def _undecided() -> ExportResult:
    return ExportResult(
        name="onnx-fp16",
        format="onnx",
        precision="fp16",
        verdict=Verdict.INCONCLUSIVE,
        miou=0.6331,
        miou_delta=-0.0034,
        miou_delta_interval=(-0.0081, 0.0012),
        agreement=0.99999999,
        checks=(
            Check(
                name="miou.delta",
                verdict=Verdict.INCONCLUSIVE,
                message="-0.0034 (-0.0081 to +0.0012): 400 images would do",
            ),
            Check(name="boundary.iou", verdict=Verdict.SKIPPED, message="not asked for"),
        ),
    )


def _crashed() -> ExportResult:
    return ExportResult(
        name=EVIL_NAME,
        format="paddle-lite",
        precision="w8",
        verdict=Verdict.ERROR,
        error="the worker died: SIGABRT in Opt::Run (unknown attribute 100%)\nlog: op <relu6> not found",
    )


def _unchecked() -> ExportResult:
    return ExportResult(name="nothing-checked", format="onnx", precision="fp32", verdict=Verdict.ERROR)


def _skipped() -> ExportResult:
    return ExportResult(name="lite-arm64", format="paddle-lite", precision="fp32", verdict=Verdict.SKIPPED)


GOLDENS = Path(__file__).resolve().parent.parent / "golden" / "report"


def golden_texts() -> dict[str, str]:
    """File name in `GOLDENS` -> what it must hold."""
    from segexport.report import render, terminal

    report = full_report()
    return {
        "report.json": render(report, "json"),
        "report.md": render(report, "markdown"),
        "junit.xml": render(report, "junit"),
        "annotations.txt": render(report, "annotations"),
        "table_100.txt": render(report, "table"),
        "table_80.txt": terminal.render(report, width=80),
        "table_passing.txt": render(passing_report(), "table"),
    }


if __name__ == "__main__":
    GOLDENS.mkdir(parents=True, exist_ok=True)
    for name, text in golden_texts().items():
        (GOLDENS / name).write_text(text, encoding="utf-8", newline="\n")
