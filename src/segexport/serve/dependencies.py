"""What has to be installed to serve: the extra `serve`."""

from __future__ import annotations

import importlib.util

HINT = "pip install 'segexport[serve]'"

_NAMES = {  # module -> what pip calls it
    "starlette": "starlette",
    "uvicorn": "uvicorn",
    "httptools": "httptools",
    "prometheus_client": "prometheus-client",
}


def missing() -> list[str]:
    """What is not installed, as pip calls it."""
    return [name for module, name in _NAMES.items() if importlib.util.find_spec(module) is None]
