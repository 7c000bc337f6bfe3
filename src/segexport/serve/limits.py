"""Limits of one server: requests, bytes, pixels and seconds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ServerLimits:
    """Beyond each of these a request is refused, or its connection is closed.

    Attributes:
        queue: Requests that were accepted and not answered yet; 503 beyond.
        connections: Open at a time; 503 beyond.
        head_bytes: Request line and headers; 431 beyond.
        body_bytes: One request's body; 413 beyond.
        held_bytes: Bodies and answers of all requests together; 503 beyond.
        image_pixels: Width times height of an image, read from its header before a pixel is decoded; 413 beyond.
        network_pixels: The same of the network's input, which `targetSize` lets the client choose; 413 beyond.
        receive_s: For a request's head, and again for its body: a byte now and then does not extend it; 408 beyond.
        send_s: For a client to take its answer; then the connection is cut.
        request_s: From acceptance to answer; 504 beyond.
        keep_alive_s: For the next request on a connection.
        downloads: Images that are being downloaded at a time; 503 beyond.
        download_s: For one of them; 422 beyond. It may be as large as `body_bytes`.
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
