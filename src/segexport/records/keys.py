"""Keys that sign: Ed25519 or ECDSA in PEM files, as OpenSSL and cryptography write them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from segexport.errors import EnvironmentMissingError, ExistsError, UnreadableError
from segexport.files.atomic import write_file
from segexport.files.disk import storage_error
from segexport.records.small_file import read_small

if TYPE_CHECKING:
    from securesystemslib.signer._crypto_signer import CryptoSigner
    from securesystemslib.signer._key import SSlibKey

PASSWORD = "SEGEXPORT_KEY_PASSWORD"
_MAX_BYTES = 1 << 16


def public_path(key: Path) -> Path:
    """Where the public half of a private key lies."""
    return key.with_name(f"{key.name}.pub")


def new_key(path: Path) -> CryptoSigner:
    """Makes an Ed25519 key: `path`, which only its owner may read, and `path.pub`.

    $SEGEXPORT_KEY_PASSWORD encrypts it.

    Raises:
        ExistsError: One of the files exists: a key is never overwritten.
        EnvironmentMissingError: securesystemslib is not installed.
        StorageError: A file cannot be written.
    """
    _require()
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from securesystemslib.signer import CryptoSigner  # pyright: ignore[reportPrivateImportUsage]

    for file in (path, public_path(path)):
        if os.path.lexists(file):
            raise ExistsError(f"{file}: exists already", hint="leave --new-key out to use it, or name another file")
    private = Ed25519PrivateKey.generate()
    password = os.environ.get(PASSWORD, "").encode()
    secret = form.BestAvailableEncryption(password) if password else form.NoEncryption()
    pem = private.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, secret)
    public = private.public_key().public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(pem)
    except OSError as error:
        raise storage_error(error, path) from error
    write_file(public_path(path), public, replace=False)
    return CryptoSigner(private)


def signer(path: Path) -> CryptoSigner:
    """Reads a private key.

    Raises:
        InputError: It is missing, no private key of a known kind, or its password is wrong.
        EnvironmentMissingError: securesystemslib is not installed.
    """
    _require()
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key
    from securesystemslib.signer import CryptoSigner  # pyright: ignore[reportPrivateImportUsage]

    hint = f"a new one: --key {path} --new-key"
    data = read_small(path, "a key", limit=_MAX_BYTES, hint=hint)
    password = os.environ.get(PASSWORD, "").encode() or None
    try:
        return CryptoSigner(load_pem_private_key(data, password))
    except TypeError as error:
        raise UnreadableError(f"{path}: its password is needed, or it has none", cause=str(error), hint=_SAY) from None
    except (ValueError, UnsupportedAlgorithm) as error:
        raise UnreadableError(f"{path}: no private key in PEM form", cause=_short(error), hint=hint) from None


def public_key(path: Path) -> SSlibKey:
    """Reads a public key.

    Raises:
        InputError: It is missing, or no public key of a known kind.
        EnvironmentMissingError: securesystemslib is not installed.
    """
    _require()
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_public_key
    from securesystemslib.signer import SSlibKey  # pyright: ignore[reportPrivateImportUsage]

    data = read_small(path, "a key", limit=_MAX_BYTES, hint="the file .pub beside the private key")
    try:
        return SSlibKey.from_crypto(load_pem_public_key(data))
    except (ValueError, UnsupportedAlgorithm) as error:
        hint = "this is the private key; give its .pub" if b"PRIVATE KEY" in data else ""
        raise UnreadableError(f"{path}: no public key in PEM form", cause=_short(error), hint=hint) from None


_SAY = f"${PASSWORD} holds it"


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def _require() -> None:
    try:
        import cryptography
        import securesystemslib.dsse  # noqa: F401

        del cryptography
    except ImportError as error:
        raise EnvironmentMissingError(
            "signatures need securesystemslib and cryptography",
            cause=str(error),
            hint="pip install 'segexport[records]'",
        ) from None
