"""Reads a file whose size has a limit: a key, a model card, an attestation."""

from __future__ import annotations

from pathlib import Path

from segexport.errors import TooLargeError, cannot_read


def read_small(path: Path, what: str, *, limit: int, hint: str = "") -> bytes:
    """The bytes of a file.

    Args:
        what: What the file should be, for messages: `a key`.
        limit: Largest size, in bytes.

    Raises:
        InputError: It is missing, cannot be read, or is larger.
    """
    try:
        with path.open("rb") as stream:
            data = stream.read(limit + 1)
    except OSError as error:
        raise cannot_read(path, error, hint=hint) from None
    if len(data) > limit:
        raise TooLargeError(f"{path}: over {limit >> 10:,} KiB", cause=f"this is not {what}")
    return data
