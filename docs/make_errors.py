"""Writes docs/errors.md from the classes in segexport.errors."""

from __future__ import annotations

import sys
from pathlib import Path

from segexport.errors import SegexportError, StoppedError, all_kinds

HEAD = """\
# Errors

Made by `python docs/make_errors.py` from `src/segexport/errors.py`; never edited by hand.

Every error has a code. Codes are stable: none is renamed or removed, and none changes its meaning. What has a general
code today (`error`, `input`, `environment`, `worker`) may get a narrower one in a later version.

```sh
segexport export nowhere --to onnx -o out --format json
```

```json
{
  "error": {
    "code": "input.missing",
    "message": "nowhere: no such file or folder",
    "cause": "",
    "hint": "",
    "path": "nowhere"
  }
}
```

`cause` and `hint` may be empty. `path` is the file or folder that the message begins with, else null. In Python, the
classes are in `segexport.errors`; each is a `SegexportError` with `code`, `what` (the message), `cause`, `hint` and
`path`. The exit code is 2, and 130 for `interrupted`. A failed gate is no error: it is a verdict in a report, and the
exit code is 1 ([automation](automation.md)).

| code | what happened, and what to do | in Python | base |
|---|---|---|---|
"""


def text() -> str:
    """The page."""
    rows = [f"| `{code}` | {_said(kind)} | {_named(kind)} |\n" for code, kind in all_kinds().items()]
    return HEAD + "".join(rows)


def _said(kind: type[SegexportError]) -> str:
    assert kind.__doc__, kind
    return kind.__doc__.partition("\n")[0]


def _named(kind: type[SegexportError]) -> str:
    if kind is StoppedError:
        return "`KeyboardInterrupt` |"
    base = "" if kind is SegexportError or kind.__base__ in (None, SegexportError) else f" `{kind.__base__.__name__}`"
    return f"`{kind.__name__}` |{base}"


if __name__ == "__main__":
    page = Path(__file__).with_name("errors.md")
    page.write_text(text(), encoding="utf-8")
    print(f"{page}: {len(all_kinds())} codes", file=sys.stderr)
