"""Writes the smallest model and input that show a fault, for a bug report."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from segexport import preprocess
from segexport.diagnose import report as diagnose_report
from segexport.diagnose.schema import Diagnosis, Finding
from segexport.diagnose.trace import Trace
from segexport.exporter import truncate
from segexport.report.model_explorer import of_diagnosis, write_overlays
from segexport.spec import Preprocess

if TYPE_CHECKING:
    from segexport.diagnose.graph_probe import Side

_SCRIPT = '''"""Runs the layer in the export's runtime and in Paddle, and prints how far apart they are.

Needs numpy, {module}, and paddlepaddle for --paddle; `expected.npy` is Paddle's output.
"""
import sys
from pathlib import Path

import numpy as np

here = Path(__file__).parent
export_feeds = {export_feeds}
paddle_feeds = {paddle_feeds}
load = lambda name: np.load(here / name)


def export():
{run}

def paddle():
    import paddle
    paddle.enable_static()
    executor = paddle.static.Executor(paddle.CPUPlace())
    program, feeds, fetches = paddle.static.load_inference_model(str(here / "reference"), executor)
    return executor.run(program, feed=dict(zip(feeds, map(load, paddle_feeds))), fetch_list=fetches)[0]


expected = paddle() if "--paddle" in sys.argv else load("expected.npy")
found = export()
print("expected", expected.shape, expected.dtype, "found", found.shape, found.dtype)
if expected.size == found.size:
    delta = np.abs(found.astype(np.float64).reshape(expected.shape) - expected)
    where = np.unravel_index(delta.argmax(), delta.shape)
    print("largest difference", delta.max(), "of a range of", float(expected.max()) - float(expected.min()), "at",
          tuple(map(int, where)), "expected", expected[where], "found", found.reshape(expected.shape)[where])
'''
_README = """# {title}

{findings}

`python reproduce.py` runs the layer in {runtime} on the reference's own tensors and compares the result with what
Paddle gave; `python reproduce.py --paddle` runs Paddle too.

| file | what |
| --- | --- |
| `reference.pdmodel`, `reference.pdiparams` | {operators} alone, as a Paddle program |
| `{export}` | the same layer, cut out of the export{how} |
{inputs}
| `expected.npy` | Paddle's result, the variable `{variable}` |
| `diagnosis.json`, `diagnosis.html` | every layer's error |
"""
_README_ALONE = """# {title}

{findings}

`diagnosis.json` and `diagnosis.html` hold every layer's error.{more}
"""


def save(
    diagnosis: Diagnosis,
    side: Side,
    traced: Trace,
    reference: Preprocess,
    export: Preprocess,
    image: np.ndarray,
    out: Path,
) -> None:
    """Writes `diagnosis.json`, `diagnosis.html`, `README.md`, and for a faulty layer the models and tensors.

    Args:
        traced: The reference's tensors.
        reference, export: The two ways from the image to the input.
        image: uint8 (height, width, 3), RGB.
        out: A folder that exists.
    """
    for form, name in (("json", "diagnosis.json"), ("html", "diagnosis.html")):
        (out / name).write_text(diagnose_report.render(diagnosis, form), encoding="utf-8")
    write_overlays(out, of_diagnosis(diagnosis))
    title = f"{diagnosis.export} against {diagnosis.reference} on {diagnosis.image}"
    said = "\n".join(f"- {line}" for line in diagnose_report.verdict(diagnosis))
    at_fault = next((finding for finding in diagnosis.findings if finding.layer in side.matches), None)
    if at_fault is None:
        more = ""
        if any(finding.kind == "preprocess" for finding in diagnosis.findings):
            for name, contract in (("reference", reference), ("export", export)):
                np.save(out / f"input_{name}.npy", preprocess.example(contract, image)[0])
            more = " `input_reference.npy` and `input_export.npy` are the tensors that the two make of the image."
        text = _README_ALONE.format(title=title, findings=said, more=more)
    else:
        text = _layer(at_fault, diagnosis, side, traced, out, title, said)
    (out / "README.md").write_text(text, encoding="utf-8")


def _layer(finding: Finding, diagnosis: Diagnosis, side: Side, traced: Trace, out: Path, title: str, said: str) -> str:
    """Writes the layer's models and tensors; returns the README."""
    part = truncate.segment(traced.program, finding.layer, side.matches)
    graph, paddle_feeds, _ = truncate.isolate(traced.program, [part], traced.shapes)
    graph.write(out, "reference")
    name, export_feeds = side.save(finding.layer, out)
    shutil.copyfile(traced.files[finding.layer], out / "expected.npy")
    variables = list(dict.fromkeys((*paddle_feeds, *export_feeds)))
    files = {variable: f"input_{index}.npy" for index, variable in enumerate(variables)}
    for variable, file in files.items():
        shutil.copyfile(traced.files[variable], out / file)
    script = _SCRIPT.format(
        module=side.runner.module,
        run=side.runner.code,
        export_feeds=[files[variable] for variable in export_feeds],
        paddle_feeds=[files[variable] for variable in paddle_feeds],
    )
    (out / "reproduce.py").write_text(script, encoding="utf-8")
    return _README.format(
        title=title,
        findings=said,
        runtime=side.runner.title,
        operators=" + ".join(finding.operators),
        export=name,
        how=f" ({side.runner.made})" if side.runner.made else "",
        inputs="\n".join(f"| `{file}` | Paddle's variable `{variable}` |" for variable, file in files.items()),
        variable=finding.layer,
    )
