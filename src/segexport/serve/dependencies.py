"""Checks the dependencies of the extra `serve`."""

from __future__ import annotations

import importlib.util

HINT = "pip install 'segexport[serve]'"

_NAMES = {  # module -> pip name
    "starlette": "starlette",
    "uvicorn": "uvicorn",
    "httptools": "httptools",
    "prometheus_client": "prometheus-client",
}


def missing() -> list[str]:
    """Returns the pip names of missing packages."""
    return [name for module, name in _NAMES.items() if importlib.util.find_spec(module) is None]
