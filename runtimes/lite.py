"""Paddle-Lite on this host: runs the x86 twin that the exporter makes beside every ARM `.nb`."""

from __future__ import annotations

import platform

from segexport.artifact import ModelArtifact
from segexport.runtimes.base import Availability, RunOptions, WorkerSession, open_worker_session, probe_worker
from segexport.spec import Format


class PaddleLite:
    """Runs `.nb` files: the ARM one on an ARM host, its x86 twin elsewhere."""

    name = "paddle-lite"
    runs = Format.PADDLE_LITE

    def probe(self) -> Availability:
        return probe_worker("lite_worker.py", "paddlelite")

    def open(self, artifact: ModelArtifact, options: RunOptions) -> WorkerSession:
        on_arm = platform.machine() in ("aarch64", "arm64")
        files = {"model": artifact.file("model" if on_arm else "host_model")}
        return open_worker_session(self.name, "lite_worker.py", "paddlelite", artifact, options, files)
