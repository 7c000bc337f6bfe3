"""What was signed is found again, byte for byte; everything else is named."""

from __future__ import annotations

import base64
import json
import os
import shutil
import stat

import pytest
from folders import make_release
from installed import require

from segexport.cli.main import cli
from segexport.errors import InputError, MissingInputError, UnreadableError
from segexport.records.attestation import ATTESTATION_NAME, attest, verify
from segexport.records.keys import PASSWORD, new_key, public_path

ONNX = "exports/onnx-fp32/model.onnx"


@pytest.fixture(scope="module")
def signed(tmp_path_factory):
    """A signed release, and the key; tests change copies of it."""
    require("securesystemslib", "cryptography", "cyclonedx")
    root = tmp_path_factory.mktemp("signed")
    attest(make_release(root / "out"), root / "release.key", make_key=True)
    return root


@pytest.fixture
def release(signed, tmp_path):
    shutil.copytree(signed / "out", tmp_path / "out")
    return tmp_path / "out"


def flip(file, place: int = -2) -> None:
    data = bytearray(file.read_bytes())
    data[place] ^= 1
    file.write_bytes(data)


def test_what_was_signed_is_verified(signed, release):
    found = verify(release, signed / "release.key.pub")
    assert found.faults == ()
    assert found.files == len([path for path in release.rglob("*") if path.is_file()]) - 1
    assert stat.S_IMODE((signed / "release.key").stat().st_mode) == 0o600
    envelope = json.loads((release / ATTESTATION_NAME).read_bytes())
    statement = json.loads(base64.b64decode(envelope["payload"]))
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    assert statement["predicate"]["exports"] == {"onnx-fp32": "PASS"}
    assert [one["name"] for one in statement["predicate"]["toolchains"]] == ["onnx"]
    assert statement["predicate"]["models"][0]["path"] == "exports/onnx-fp32"


@pytest.mark.parametrize(
    "name", [ONNX, "exports/onnx-fp32/manifest.json", "exports/onnx-fp32/README.md", "report.json", "sbom.cdx.json"]
)
def test_a_changed_byte_is_named(signed, release, name):
    flip(release / name)
    (fault,) = verify(release, signed / "release.key.pub").faults
    assert (fault.path, fault.what) == (name, "changed: another sha256")


def test_missing_added_swapped_and_linked_files_are_named(signed, release):
    (release / "report.md").unlink()
    (release / "exports/onnx-fp32/extra.bin").write_bytes(b"")
    (release / "exports/attestation.intoto.json").write_text("{}")  # only the one at the top is the attestation
    os.replace(release / "junit.xml", release / "report.html")
    (release / os.fsdecode(b"\xff\x1b")).write_bytes(b"")  # no text, and a command to a terminal
    (release / "elsewhere").symlink_to(signed, target_is_directory=True)
    os.replace(release / ONNX, signed / "moved.onnx")
    (release / ONNX).symlink_to(signed / "moved.onnx")
    found = {fault.path: fault.what for fault in verify(release, signed / "release.key.pub").faults}
    assert found == {
        "\\xff\x1b": "not in the attestation: it was added later",
        "report.md": "missing",
        "junit.xml": "missing",
        "report.html": "changed: another sha256",
        "exports/onnx-fp32/extra.bin": "not in the attestation: it was added later",
        "exports/attestation.intoto.json": "not in the attestation: it was added later",
        "elsewhere": "a link, or no plain file",
        ONNX: "a link, or no plain file",
    }


def test_another_key_and_a_changed_attestation_are_told_apart(signed, release, tmp_path):
    new_key(tmp_path / "other.key")
    (fault,) = verify(release, tmp_path / "other.key.pub").faults
    assert fault.what == f"not signed with the key {tmp_path / 'other.key.pub'}"
    attest_again = json.loads((release / ATTESTATION_NAME).read_bytes())
    payload = json.loads(base64.b64decode(attest_again["payload"]))
    payload["subject"] = payload["subject"][:-1]
    attest_again["payload"] = base64.b64encode(json.dumps(payload).encode()).decode()
    (release / ATTESTATION_NAME).write_text(json.dumps(attest_again))
    found = verify(release, signed / "release.key.pub")
    assert [fault.what for fault in found.faults] == ["the signature does not hold: the attestation was changed"]
    assert found.files == 0
    # Somebody else signs it anew, under the name of the right key: the signature is what counts.
    own = json.loads((signed / "out" / ATTESTATION_NAME).read_bytes())["signatures"][0]["keyid"]
    (release / ATTESTATION_NAME).unlink()
    attest(release, tmp_path / "other.key")
    forged = json.loads((release / ATTESTATION_NAME).read_bytes())
    forged["signatures"][0]["keyid"] = own
    (release / ATTESTATION_NAME).write_text(json.dumps(forged))
    (fault,) = verify(release, signed / "release.key.pub").faults
    assert fault.what == "the signature does not hold: the attestation was changed"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "attestation.intoto.json: cannot be read"),
        ("{", "attestation.intoto.json: not JSON"),
        ("[]", "attestation.intoto.json: not an attestation"),
        ('{"payload": "", "payloadType": "x"}', "attestation.intoto.json: not a DSSE envelope"),
        ('{"payload": "?", "payloadType": 7, "signatures": [7]}', "attestation.intoto.json: not a DSSE envelope"),
        ('{"payload": "", "payloadType": "x", "signatures": []}', None),
    ],
)
def test_an_attestation_that_is_none_is_an_error(signed, release, text, message):
    file = release / ATTESTATION_NAME
    file.unlink() if text is None else file.write_text(text)
    if message is None:  # nobody signed it
        assert verify(release, signed / "release.key.pub").faults[0].what.startswith("not signed with the key")
        return
    with pytest.raises(InputError, match=message):
        verify(release, signed / "release.key.pub")


def test_keys_that_are_none_are_errors(signed, release, tmp_path, monkeypatch):
    with pytest.raises(MissingInputError, match=r"nowhere: cannot be read") as missing:
        attest(release, tmp_path / "nowhere")
    assert missing.value.hint == f"a new one: --key {tmp_path / 'nowhere'} --new-key"
    with pytest.raises(UnreadableError, match="no public key in PEM form") as swapped:
        verify(release, signed / "release.key")
    assert swapped.value.hint == "this is the private key; give its .pub"
    with pytest.raises(UnreadableError, match="no private key in PEM form"):
        attest(release, signed / "release.key.pub")
    with pytest.raises(InputError, match="exists already"):
        attest(release, signed / "release.key", make_key=True)
    with pytest.raises(InputError, match="the key lies in the folder that it signs"):
        attest(release, release / "own.key", make_key=True)
    monkeypatch.setenv(PASSWORD, "secret")
    new_key(tmp_path / "locked.key")
    attest(release, tmp_path / "locked.key")
    assert verify(release, public_path(tmp_path / "locked.key")).faults == ()
    monkeypatch.delenv(PASSWORD)
    with pytest.raises(UnreadableError, match="its password is needed"):
        attest(release, tmp_path / "locked.key")
    monkeypatch.setenv(PASSWORD, "wrong")
    with pytest.raises(UnreadableError, match="no private key in PEM form"):
        attest(release, tmp_path / "locked.key")


def test_a_name_that_is_no_text_is_not_signed(release, tmp_path):
    (release / os.fsdecode(b"\xff")).write_bytes(b"")
    with pytest.raises(InputError, match="a file's name that is no text"):
        attest(release, tmp_path / "new.key", make_key=True)


def test_an_ecdsa_key_of_openssl_signs_too(release, tmp_path):
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    private = key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())
    public = key.public_key().public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "ec.key").write_bytes(private)
    (tmp_path / "ec.key.pub").write_bytes(public)
    attest(release, tmp_path / "ec.key")
    assert verify(release, tmp_path / "ec.key.pub").faults == ()


def test_a_folder_with_a_damaged_model_is_not_signed(release, tmp_path):
    before = (release / ATTESTATION_NAME).read_bytes()
    flip(release / ONNX)
    with pytest.raises(InputError, match=r"model.onnx: not the file that manifest.json describes"):
        attest(release, tmp_path / "new.key", make_key=True)
    assert (release / ATTESTATION_NAME).read_bytes() == before
    assert not (tmp_path / "new.key").exists()


def test_the_exit_codes_of_the_command(signed, release, capsys):
    def code(*arguments: object) -> int:
        with pytest.raises(SystemExit) as ended:
            cli(["verify", str(release), "--key", *map(str, arguments)])
        return int(ended.value.code or 0)

    assert code(signed / "release.key.pub") == 0
    assert "files, as signed on" in capsys.readouterr().out
    flip(release / ONNX)
    assert code(signed / "release.key.pub", "--format", "json") == 1
    assert json.loads(capsys.readouterr().out)["faults"] == [{"path": ONNX, "what": "changed: another sha256"}]
