"""Keeps a worker off the network: libraries of networks download pretrained weights where nobody asked for them."""

from __future__ import annotations

import sys

_EVENTS = ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname")


def stay_offline() -> None:
    """Makes every connection of this process raise PermissionError, from now on."""
    sys.addaudithook(_refuse)


def _refuse(event, _arguments):
    if event in _EVENTS:
        raise PermissionError("a network is built without the Internet: pretrained weights are not downloaded")
