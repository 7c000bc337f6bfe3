"""Limits of one server: requests, bytes, pixels and seconds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ServerLimits:
    """Limits of one server. A request above a limit is refused with the status in brackets.

    Attributes:
        queue: Accepted requests without an answer (503).
        connections: Open connections (503).
        head_bytes: Size of the request line and headers (431).
        body_bytes: Size of a request's body (413); also the largest download.
        held_bytes: Size of all bodies and answers in memory (503).
        image_pixels: Width times height of an image, read from its header before decoding (413).
        network_pixels: Width times height of the network's input, which the client may set by `targetSize` (413).
        receive_s: Time to receive a request's head, and again its body, however many bytes arrive (408).
        send_s: Time for a client to receive its answer; then the connection is closed.
        request_s: Time from acceptance to answer (504).
        keep_alive_s: Time to wait for the next request on a connection.
        downloads: Concurrent downloads of images (503).
        download_s: Time for one download (422).
    """

    queue: int = 64
    connections: int = 1000
    head_bytes: int = 32 << 10
    body_bytes: int = 32 << 20
    held_bytes: int = 512 << 20
    image_pixels: int = 25_000_000
    network_pixels: int = 2048 * 2048
    receive_s: float = 15.0
    send_s: float = 30.0
    request_s: float = 30.0
    keep_alive_s: float = 30.0
    downloads: int = 8
    download_s: float = 10.0
