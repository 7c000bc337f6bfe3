"""Maps each task to its endpoint."""

from __future__ import annotations

from collections.abc import Callable

from segexport.artifact import Manifest
from segexport.predict.target_size import TargetSize
from segexport.serve.endpoint import Endpoint
from segexport.serve.instances import Instances
from segexport.serve.limits import ServerLimits
from segexport.serve.segmentation import Segmentation
from segexport.spec import TaskName

ENDPOINTS: dict[TaskName, Callable[[Manifest, TargetSize, ServerLimits], Endpoint]] = {
    "semantic": Segmentation,
    "instance": Instances,
}
