"""Request bodies: their schemas, and decoding of the image."""

from __future__ import annotations

import binascii
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from segexport.serve.http_errors import Refused

# Base64 has none of these, so a sound request has but a few. Each value of a JSON text costs many times its bytes.
_STRUCTURE = (b",", b"[", b"{")
_MAX_STRUCTURE = 1000
_TYPES = {
    "targetSize": "it is -1, a number of pixels, or [width, height]",
    "threshold": "it is a number from 0 to 1",
}

Side = Annotated[int, Field(strict=True)]


class ImageRequest(BaseModel):
    """The keys of all requests.

    Attributes:
        image: Base64 of an image file, or an http(s) URL.
        visualize: Whether the response includes the picture; null: yes.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    image: Annotated[str, Field(strict=True, min_length=1)]
    visualize: Annotated[bool, Field(strict=True)] | None = None

    @property
    def is_url(self) -> bool:
        """Whether the image is a URL to fetch."""
        return self.image[:8].lower().startswith(("http://", "https://"))

    @property
    def with_picture(self) -> bool:
        """Whether the response includes the picture."""
        return self.visualize is not False


class SegmentationRequest(ImageRequest):
    """PaddleX's `InferRequest` of semantic segmentation; `targetSize` as `target_size` of `predict`."""

    targetSize: Side | tuple[Side, Side] | None = None


class InstanceRequest(ImageRequest):
    """PaddleX's `InferRequest` of instance segmentation; objects whose score is below `threshold` are left out."""

    threshold: Annotated[float, Field(strict=True, ge=0, le=1)] | None = None


AnyRequest = TypeVar("AnyRequest", bound=ImageRequest)


def read_request(kind: type[AnyRequest], body: bytes) -> AnyRequest:
    """Reads a body.

    Raises:
        Refused: The body is not a JSON object, or has unknown keys or values of a wrong type; names each.
    """
    if sum(body.count(letter) for letter in _STRUCTURE) > _MAX_STRUCTURE:
        raise Refused(422, f"the body holds more than {_MAX_STRUCTURE} values; it is one object with an image")
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        faults = dict.fromkeys(_fault(kind, fault) for fault in error.errors(include_input=False))  # each once
        raise Refused(422, "; ".join(faults)) from None


def image_bytes(text: str) -> bytes:
    """Decodes a Base64 image file; ignores line breaks.

    Raises:
        Refused: The text is not Base64.
    """
    text = "".join(text.split())
    try:
        data = binascii.a2b_base64(text)
    except (binascii.Error, ValueError) as error:
        raise Refused(422, f"image: neither a URL nor Base64 ({str(error).lower()})") from None
    padding = len(text) - len(text.rstrip("="))
    if len(data) != len(text) // 4 * 3 - padding:  # the decoder skips invalid characters
        raise Refused(422, "image: neither a URL nor Base64 (it contains other letters)")
    return data


def wrong(key: str) -> Refused:
    """Returns the error for a value of the wrong type."""
    return Refused(422, f"{key}: {_TYPES[key]}")


def _fault(kind: type[ImageRequest], fault: Mapping[str, Any]) -> str:
    place = ".".join(str(part) for part in fault["loc"][:1])
    if fault["type"] == "json_invalid":
        return f"the body is not JSON: {fault['ctx']['error']}"
    if fault["type"] == "model_type":
        return 'the body is not a JSON object such as {"image": "..."}'
    if fault["type"] == "extra_forbidden":
        return f"{place}: no such key; there are {', '.join(kind.model_fields)}"
    if fault["type"] == "missing":
        return f"{place}: it is required"
    return f"{place}: {_TYPES.get(place, fault['msg'].lower())}"
