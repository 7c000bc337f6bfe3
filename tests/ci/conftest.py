"""Helpers of the other suites: the sample report, wrong models and workplaces."""

from __future__ import annotations

import sys
from pathlib import Path

for _suite in ("unit", "e2e"):
    sys.path.append(str(Path(__file__).resolve().parent.parent / _suite))
