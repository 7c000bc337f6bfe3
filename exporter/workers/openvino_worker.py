"""Makes OpenVINO models. Commands: convert."""

from __future__ import annotations

import openvino as ov
from openvino._offline_transformations import apply_moc_transformations
from worker_host import WorkerFailure


def convert(arguments, _arrays):
    """An ONNX file, or a Paddle program, as `.xml` and `.bin`; the tensors of `names` are found by them again."""
    model = read(arguments["model"])
    for name in arguments["names"]:
        if not any(name in port.get_names() for port in (*model.inputs, *model.outputs)):
            raise WorkerFailure(f"OpenVINO loses the name of the tensor {name!r}")
    save(model, arguments["out"], half=arguments["half"])
    return {"version": ov.__version__.split("-")[0]}, []


def read(file: str):
    """The model with fewer and larger operators: what follows from constants becomes one."""
    try:
        model = ov.Core().read_model(file)
        apply_moc_transformations(model, cf=True)
    except Exception as error:
        raise WorkerFailure("OpenVINO cannot convert the model", cause=" ".join(str(error).split())[:300]) from error
    return model


def save(model, out: str, *, half: bool) -> None:
    """Writes the `.xml`, without the white space that is a third of it, and the `.bin` beside it."""
    ov.save_model(model, out, half)
    with open(out, encoding="utf-8") as file:
        text = "".join(line.strip() for line in file)
    with open(out, "w", encoding="utf-8") as file:
        file.write(text)


COMMANDS = {"convert": convert}
