"""A model in a separate process: the part that is common to all tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from segexport.artifact import ModelArtifact
from segexport.errors import EnvironmentMissingError, OptionError
from segexport.pipeline.registry import runtime_for
from segexport.runtimes.base import RunOptions, Runtime

FASTEST = "fastest"

if TYPE_CHECKING:
    from typing_extensions import Self


class Opened:
    """Use it in a `with` block, or call `close`.

    Args:
        artifact: The model, in any format.
        device: `cpu`, `gpu:0`, ...; a device of the format's runtime on this machine.
        threads: Threads for one inference.
        runtime: The runtime's name; `fastest`: the fastest one measured on this machine; empty: the format's first.

    Raises:
        InputError: The runtime lacks the device (the error lists the available ones), or does not run the format.
    """

    def __init__(self, artifact: ModelArtifact, *, device: str = "cpu", threads: int = 1, runtime: str = "") -> None:
        self.artifact = artifact
        options = RunOptions(device=device, threads=threads)
        if runtime == FASTEST:
            from segexport.predict.fastest_runtime import fastest_runtime

            runtime = fastest_runtime(artifact, options)
        chosen = runtime_for(artifact.manifest.format, device, runtime)
        require_device(chosen, device)
        self._session = chosen.open(artifact, options)

    @property
    def pid(self) -> int:
        """The id of the model's process; 0 if it runs on a phone."""
        return getattr(self._session, "pid", 0)  # a phone has none

    def peak_rss_bytes(self) -> int:
        """Peak memory of the model's process so far, in bytes."""
        return self._session.peak_rss_bytes()

    def close(self) -> None:
        """Ends the model's process."""
        self._session.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def require_device(runtime: Runtime, device: str) -> None:
    """Refuses a device that this runtime lacks on this machine. `cpu` always works, and a phone is checked later."""
    kind, _, index = device.partition(":")
    if device == "cpu" or kind == "adb":
        return
    if "," in index:
        first = index.split(",")[0]
        raise OptionError(
            f"device {device!r}: one export runs on one device",
            cause="several are for training, and for several processes",
            hint=f"--device {kind}:{first}; for each further one a process with a share of the images",
        )
    found = runtime.probe()
    if not found.ok:
        raise EnvironmentMissingError(f"{runtime.name}: {found.reason}", hint=found.hint)
    if kind not in found.devices or kind == "cpu" or (index and not index.isdigit()):
        here = ", ".join(f"{name}:N" if name == "gpu" else name for name in found.devices)
        raise OptionError(
            f"device {device!r}: {runtime.name} here has {here}",
            hint="segexport doctor lists the devices of each runtime",
        )
