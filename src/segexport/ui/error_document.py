"""An error as JSON: what `--format json` prints instead of a result."""

from __future__ import annotations

from segexport.errors import SegexportError
from segexport.spec import Frozen


class ErrorDetail(Frozen):
    """An error of segexport.

    Attributes:
        code: Stable name of the kind of error; docs/errors.md lists them all.
        message: What happened, with values and path.
        cause: The reason; empty if unknown.
        hint: The fix, with the command if there is one; may be empty.
        path: The file or folder that the error is about; null if it is about something else.
    """

    code: str
    message: str
    cause: str = ""
    hint: str = ""
    path: str | None = None

    @classmethod
    def of(cls, error: SegexportError) -> ErrorDetail:
        return cls(code=error.code, message=error.what, cause=error.cause, hint=error.hint, path=error.path)


class ErrorDocument(Frozen):
    """The command ended with an error; the exit code is 2, or 130 after Ctrl-C."""

    error: ErrorDetail

    @classmethod
    def of(cls, error: SegexportError) -> ErrorDocument:
        return cls(error=ErrorDetail.of(error))
