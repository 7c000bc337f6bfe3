"""The body of a request: what it may say, and the bytes of the image in it."""

from __future__ import annotations

import binascii
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from segexport.errors import InputError
from segexport.predict.target_size import TargetSize, checked_size
from segexport.serve.refusal import Refused

# Base64 has none of these, so a sound request has but a few. Each value of a JSON text costs many times its bytes.
_STRUCTURE = (b",", b"[", b"{")
_MAX_STRUCTURE = 1000
_WRONG_SIZE = "targetSize: it is -1, a number of pixels, or [width, height]"

Side = Annotated[int, Field(strict=True)]


class SegmentationRequest(BaseModel):
    """PaddleX's `InferRequest` of semantic segmentation.

    Attributes:
        image: Base64 of an image file, or an http(s) URL.
        targetSize: As `target_size` of `predict`: -1, a side, or [width, height].
        visualize: Whether the answer holds the picture too; null: yes.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    image: Annotated[str, Field(strict=True, min_length=1)]
    targetSize: Side | tuple[Side, Side] | None = None
    visualize: Annotated[bool, Field(strict=True)] | None = None

    @property
    def is_url(self) -> bool:
        """Whether the image has to be fetched."""
        return self.image[:8].lower().startswith(("http://", "https://"))

    @property
    def target_size(self) -> TargetSize:
        """Checked; raises Refused for a size that is none."""
        try:
            return checked_size(self.targetSize)
        except InputError:
            raise Refused(422, _WRONG_SIZE) from None


def read_request(body: bytes) -> SegmentationRequest:
    """Reads a body.

    Raises:
        Refused: Not JSON, not an object, another key, or a value of another type; each is named.
    """
    if sum(body.count(letter) for letter in _STRUCTURE) > _MAX_STRUCTURE:
        raise Refused(422, f"the body holds more than {_MAX_STRUCTURE} values; it is one object with an image")
    try:
        return SegmentationRequest.model_validate_json(body)
    except ValidationError as error:
        faults = dict.fromkeys(_fault(fault) for fault in error.errors(include_input=False))  # each once, in order
        raise Refused(422, "; ".join(faults)) from None


def image_bytes(text: str) -> bytes:
    """The file that a Base64 text holds; line breaks in it are let pass.

    Raises:
        Refused: Something else than Base64.
    """
    text = "".join(text.split())
    try:
        data = binascii.a2b_base64(text)
    except (binascii.Error, ValueError) as error:
        raise Refused(422, f"image: neither a URL nor Base64 ({str(error).lower()})") from None
    padding = len(text) - len(text.rstrip("="))
    if len(data) != len(text) // 4 * 3 - padding:  # the decoder skips letters that it does not know
        raise Refused(422, "image: neither a URL nor Base64 (it holds other letters)")
    return data


def _fault(fault: dict[str, Any]) -> str:
    place = ".".join(str(part) for part in fault["loc"][:1])
    if fault["type"] == "json_invalid":
        return f"the body is not JSON: {fault['ctx']['error']}"
    if fault["type"] == "model_type":
        return 'the body is not a JSON object such as {"image": "..."}'
    if fault["type"] == "extra_forbidden":
        return f"{place}: no such key; there are {', '.join(SegmentationRequest.model_fields)}"
    if fault["type"] == "missing":
        return f"{place}: it is wanted"
    if place == "targetSize":
        return _WRONG_SIZE
    return f"{place}: {fault['msg'].lower()}"
