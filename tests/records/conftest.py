"""Helpers of the unit tests: the sample report."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent.parent / "unit"))
