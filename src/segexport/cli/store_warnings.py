"""Shows what the shared store logs as warnings of the command line."""

from __future__ import annotations

import logging

from segexport.ui.console import Console


class StoreWarnings(logging.Handler):
    """Passes messages to a console."""

    def __init__(self, console: Console) -> None:
        super().__init__(logging.WARNING)
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        self._console.warn(record.getMessage())


def show_store_warnings(console: Console) -> None:
    """From now on, warnings of the shared store go to this console."""
    log = logging.getLogger("segexport.store")
    log.handlers, log.propagate = [StoreWarnings(console)], False
