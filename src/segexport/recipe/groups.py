"""The values of `groups`, which groups images that are not independent."""

from __future__ import annotations

import re

AUTO = "auto"
"""Groups by numbered file names with a common prefix."""

COLUMN = "column"
"""Groups by the last column of the list: `image label group`."""

PART = "group"
"""Name of the part of a pattern on file names that is the group."""

HINT = rf"auto, column, or a pattern on file names such as '(?P<{PART}>[^/]+)_\d+'"


def fault_in_groups(groups: str) -> str:
    """Why a text is neither `auto` nor `column` nor a pattern; empty if it is one of them."""
    if groups in (AUTO, COLUMN):
        return ""
    try:
        parts = re.compile(groups).groupindex
    except re.error as error:
        return f"not a regular expression: {error}"
    return "" if PART in parts else f"the pattern names no part (?P<{PART}>...)"
