"""HTTP errors: status and message for the client."""

from __future__ import annotations

from segexport.errors import InputError, SegexportError, TooLargeError, WorkerFailed, WorkerTimeout

_MAX_CHARACTERS = 600


class Refused(Exception):
    """A refused request.

    Args:
        status: HTTP status and `errorCode`.
        message: `errorMsg` for the client, without local paths or a traceback.
        retry_after_s: Time until a retry makes sense; None if it does not.
    """

    def __init__(self, status: int, message: str, *, retry_after_s: int | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.retry_after_s = status, _printable(message), retry_after_s


def refused(error: SegexportError) -> Refused:
    """The response for an error: the client's errors in full, the server's without details."""
    if isinstance(error, WorkerTimeout):
        return Refused(504, "the model did not answer in time; its process was ended and is started again")
    if isinstance(error, WorkerFailed):  # the model ran at startup, so this input is the cause
        return Refused(422, f"the model cannot run on this input: {error.what}")
    if isinstance(error, InputError):
        status = 413 if isinstance(error, TooLargeError) else 422
        return Refused(status, f"{error.what} ({error.cause})" if error.cause else error.what)
    return Refused(500, "the model's process ended while it worked on this request; it is started again")


def _printable(text: str) -> str:
    """Returns one line of bounded length without control characters: parts may come from the request."""
    text = "".join(letter if letter.isprintable() else " " for letter in text[: 2 * _MAX_CHARACTERS])
    return text if len(text) <= _MAX_CHARACTERS else text[: _MAX_CHARACTERS - 1] + "…"
