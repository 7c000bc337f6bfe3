"""Options for the prediction of videos."""

from __future__ import annotations

from dataclasses import dataclass

from segexport.video.flow import FlowName


@dataclass(frozen=True)
class VideoOptions:
    """Options of `predict` for videos.

    Attributes:
        smooth: Whether to smooth scores along the optical flow.
        flow: `dis`: OpenCV's dense inverse search; `blocks`: block matching, as in the Java core.
        background: `blur`, `matte`, `cutout`, `#rrggbb` or an image file; None: draw the mask instead.
        foreground: Names or ids of the classes in front; empty: all but class 0.
        frames: Largest number of frames to read; None: all, or until Ctrl-C for a camera.
    """

    smooth: bool = True
    flow: FlowName = "dis"
    background: str | None = None
    foreground: tuple[str, ...] = ()
    frames: int | None = None
