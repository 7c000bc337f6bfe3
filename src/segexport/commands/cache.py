"""`segexport cache`: what the local cache and the shared store hold, and garbage collection."""

from __future__ import annotations

from collections.abc import Sequence

from segexport.errors import OptionError
from segexport.files.disk import STORE_VARIABLE
from segexport.files.shared_store import Collected, SharedOutput, SharedStore
from segexport.files.store import Store, StoreEntry


def levels() -> str:
    """The local cache and the shared store: address, number of outputs, bytes; and what was found in them.

    Raises:
        StorageError: The shared store cannot be read.
        OptionError: Its address is wrong.
    """
    store = Store()
    hits = store.hits
    rows: list[tuple[str, object, Sequence[StoreEntry | SharedOutput]]] = []
    rows.append(("local", store.objects.parent.parent, list(store.entries())))
    if store.shared is not None and not store.shared.is_http:
        rows.append(("shared", store.shared.shown, store.shared.outputs()))
    lines = [f"{name}: {where}: {len(found)} outputs, {_bytes_of(found):,} bytes" for name, where, found in rows]
    if store.shared is not None and store.shared.is_http:
        lines.append(f"shared: {store.shared.shown}: only read, and not listed")
    elif store.shared is None:
        lines.append(f"shared: none; --store URL or ${STORE_VARIABLE} chooses one")
    lines.append(f"found: {hits.local} times in the local cache, {hits.shared} times in a shared store")
    lines.append(f"saved by sharing: {hits.shared_bytes:,} bytes, which took {hits.shared_seconds:,.1f} s to make")
    lines.append(f"published: {hits.published} outputs, {hits.published_bytes:,} bytes")
    return "\n".join(lines)


def entries(shared: bool) -> Sequence[StoreEntry | SharedOutput]:
    """All outputs in the local cache, or in the shared store; raises as `levels`."""
    return _chosen().outputs() if shared else list(Store().entries())


def collect(older_than_days: float) -> tuple[int, int]:
    """Removes outputs from the local cache; returns (outputs, bytes).

    Raises:
        StorageError: An output cannot be removed.
    """
    return Store().collect(older_than_days=older_than_days)


def collect_shared(older_than_days: float, dry_run: bool) -> Collected:
    """Removes outputs from the shared store, or tells which ones would be.

    Raises:
        StorageError: The store cannot be read or written.
        OptionError: None is chosen, its address is wrong, or it is read-only.
    """
    return _chosen().collect(older_than_days=older_than_days, dry_run=dry_run)


def _chosen() -> SharedStore:
    shared = Store().shared
    if shared is None:
        raise OptionError("no shared store is chosen", hint=f"name it: --store URL, or ${STORE_VARIABLE}")
    return shared


def _bytes_of(found: Sequence[StoreEntry | SharedOutput]) -> int:
    return sum(entry.size_bytes for entry in found)
