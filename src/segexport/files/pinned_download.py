"""Files that a user names by an http(s) URL with a digest, `https://.../model.pdparams#sha256=DIGEST`.

The digest decides what the file is: a server cannot send another one, and a file is downloaded once.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urldefrag, urlsplit

from segexport.artifact import file_digest
from segexport.errors import AlteredError, DownloadError
from segexport.files.disk import storage_error
from segexport.files.store import Store
from segexport.progress import SILENCE, Feedback

MAX_BYTES = 2 << 30  # the largest checkpoints of segmentation networks are half of it
_TIMEOUT_S = 1800.0
_SCHEMES = ("http://", "https://")
_DIGEST = re.compile(r"sha256=([0-9a-f]{64})", re.IGNORECASE)
_UNUSUAL = re.compile(r"[^\w.-]")


def local_file(source: Path | str, store: Store, *, feedback: Feedback = SILENCE) -> Path:
    """The path of a local file, or of the stored copy of a URL with a digest; a path is returned as it is.

    Raises:
        DownloadError: The URL has no digest, or cannot be downloaded.
        AlteredError: It leads to a file with another digest.
        TooLargeError: The file has more than `MAX_BYTES`.
        StorageError: The store cannot be written.
    """
    if isinstance(source, Path) or not source.lower().startswith(_SCHEMES):
        return Path(source)
    url, fragment = urldefrag(source)
    found = _DIGEST.fullmatch(fragment)
    if found is None:
        raise DownloadError(
            f"{source}: a URL without the digest of its file",
            cause=f"#{fragment} is no digest: 64 hexadecimal digits are expected" if fragment else "",
            hint=f"append what `sha256sum FILE` prints where the file comes from: {url}#sha256=DIGEST",
        )
    digest = found[1].lower()
    kept = store.find(digest)
    if kept is not None:
        (file,) = kept.iterdir()
        if file_digest(file) == digest:
            return file
        store.discard(digest)
    name = _UNUSUAL.sub("_", PurePosixPath(unquote(urlsplit(url).path)).name) or "file"
    feedback.say(f"downloading {url}")
    (file,) = store.keep(digest, lambda folder: _download(url, folder / name, digest)).iterdir()
    return file


def _download(url: str, file: Path, digest: str) -> None:
    from segexport.files.download import download_into  # ssl and http take a while to import

    hashed = hashlib.sha256()
    with file.open("wb") as stream:

        def take(part: bytes) -> None:
            hashed.update(part)
            try:
                stream.write(part)
            except OSError as error:
                raise storage_error(error, file) from error

        download_into(take, url, max_bytes=MAX_BYTES, timeout_s=_TIMEOUT_S)
    if hashed.hexdigest() != digest:
        raise AlteredError(
            f"{url}: not the file that its digest names",
            cause=f"its sha256 is {hashed.hexdigest()}, {digest} is expected",
            hint="the file was replaced, or the digest is another's; take the new digest only if you trust the file",
        )
