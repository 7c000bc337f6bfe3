"""Writes a run as TensorBoard events: figures, tables and pictures; the files themselves stay where they are."""

from __future__ import annotations

from pathlib import Path

from segexport.errors import EnvironmentMissingError
from segexport.records.record import Record


class TensorboardLog:
    """A folder of runs; each run adds a step, so that figures become curves over runs.

    Raises:
        EnvironmentMissingError: tensorboardX is not installed.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        try:
            import tensorboardX  # noqa: F401
        except ImportError as error:
            raise EnvironmentMissingError(
                "--log tensorboard needs tensorboardX", cause=str(error), hint="pip install 'segexport[tensorboard]'"
            ) from None

    def write(self, record: Record) -> str:
        import cv2
        from tensorboardX import SummaryWriter

        step = sum(1 for _ in self._folder.glob("events.out.tfevents.*"))
        with SummaryWriter(str(self._folder), flush_secs=1) as writer:
            for key, value in record.figures.items():
                writer.add_scalar(key, value, step)
            params = "\n".join(f"| {key} | {value.replace('|', '/')} |" for key, value in record.params.items())
            writer.add_text("run", f"| | |\n|---|---|\n{params}", step)
            for key, text in record.tables.items():
                writer.add_text(key, text, step)
            for key, file in record.pictures.items():
                picture = cv2.imread(str(file), cv2.IMREAD_COLOR)
                if picture is None:
                    raise ValueError(f"{file}: not a picture")
                writer.add_image(key, picture[..., ::-1].copy(), step, dataformats="HWC")
        return f"step {step} in {self._folder}"
