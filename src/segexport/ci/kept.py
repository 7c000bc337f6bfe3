"""Baselines in the shared store: a report per name, beside the outputs; `cache gc` does not touch them."""

from __future__ import annotations

import os
import re

from segexport.ci.http import MAX_BYTES
from segexport.errors import OptionError, StorageError
from segexport.files.disk import STORE_VARIABLE
from segexport.files.remote_folder import RemoteError, RemoteFolder, RemoteMissing

_NAME = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)*")
_PATIENCE_S = 60.0


def keep(name: str, data: bytes) -> str:
    """Writes a report.json under a name, such as `octo/nets/main`, over the one before; returns its address.

    Raises:
        OptionError: The name is none, or there is no shared store.
        StorageError: The store cannot be written.
    """
    folder, path = _opened(name)
    try:
        folder.write(path, data)
    except RemoteError as error:
        raise StorageError(f"shared store {folder.shown}: the baseline cannot be written", cause=str(error)) from None
    return f"{folder.shown.rstrip('/')}/{path}"


def kept(name: str) -> bytes | None:
    """The report.json that was kept under a name; None if there is none.

    Raises:
        OptionError: The name is none, or there is no shared store.
        StorageError: The store cannot be read.
    """
    folder, path = _opened(name)
    try:
        return folder.read(path, MAX_BYTES)
    except RemoteMissing:
        return None
    except RemoteError as error:
        raise StorageError(f"shared store {folder.shown}: the baseline cannot be read", cause=str(error)) from None


def _opened(name: str) -> tuple[RemoteFolder, str]:
    if not _NAME.fullmatch(name):
        raise OptionError(f"--name {name!r}: not a name", cause="letters, digits, `.`, `_`, `-`, with / between them")
    url = os.environ.get(STORE_VARIABLE, "")
    if not url:
        raise OptionError("--name: there is no shared store", hint=f"--store URL, or ${STORE_VARIABLE}")
    try:
        return RemoteFolder(url, _PATIENCE_S), f"baselines/{name}/report.json"
    except RemoteError as error:
        raise StorageError("the shared store cannot be reached", cause=str(error)) from None
