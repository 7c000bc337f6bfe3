"""Calls adb and turns each failure of the cable or the phone into a specific error."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from segexport.errors import (
    DeviceMissingError,
    EnvironmentMissingError,
    OptionError,
    StorageError,
    WorkerFailed,
    WorkerTimeout,
)

_DEBUGGING_HINT = "connect the phone by USB and turn on Developer options > USB debugging"


class AdbClient:
    """Calls adb for one phone.

    Args:
        executable: Path or name of adb.
        serial: Serial of the phone; empty until `select` has found the only one.
    """

    def __init__(self, executable: str, serial: str = "") -> None:
        self._executable = executable
        self.serial = serial

    def version(self) -> str:
        """Returns adb's version, e.g. `1.0.41`."""
        found = re.search(r"version ([\d.]+)", self._call("version"))
        return found[1] if found else ""

    def select(self) -> str:
        """Finds the phone to use and returns its serial number.

        Raises:
            EnvironmentMissingError: adb or the phone is missing, or the phone is not ready.
            InputError: Several phones are connected and no serial was given.
        """
        phones = dict(re.findall(r"^(\S+)\s+(device|offline|unauthorized|\S+)\b", self._listing(), re.MULTILINE))
        if self.serial:
            if self.serial not in phones:
                raise DeviceMissingError(
                    f"no phone {self.serial!r} is connected",
                    cause=f"connected are: {', '.join(phones) or 'none'}",
                    hint=_DEBUGGING_HINT,
                )
        elif not phones:
            raise DeviceMissingError("no phone is connected", hint=_DEBUGGING_HINT)
        elif len(ready := [serial for serial, state in phones.items() if state == "device"] or list(phones)) > 1:
            raise OptionError(
                f"{len(ready)} phones are connected: {', '.join(ready)}",
                hint=f"name one of them: ANDROID_SERIAL={ready[0]} segexport ...",
            )
        else:
            self.serial = ready[0]
        if phones[self.serial] != "device":
            raise self._not_ready(phones[self.serial])
        return self.serial

    def phone_name(self) -> str:
        """Returns manufacturer, model and Android version as the phone reports them."""
        said = self.shell(
            "getprop ro.product.manufacturer; getprop ro.product.model; getprop ro.build.version.release"
        ).splitlines()
        if len(said) < 3:
            return self.serial
        return f"{said[0]} {said[1]} (Android {said[2]})"

    def shell(self, command: str, *, check: bool = True, timeout_s: float = 60) -> str:
        """Runs a command on the phone and returns its stdout (with stderr if `check` is false)."""
        return self._call("-s", self.serial, "shell", command, check=check, timeout_s=timeout_s)

    def push(self, file: Path, remote: str) -> None:
        self._call("-s", self.serial, "push", str(file), remote, timeout_s=600)

    def pull(self, remote: str, file: Path) -> None:
        self._call("-s", self.serial, "pull", remote, str(file), timeout_s=600)

    def _listing(self) -> str:
        return self._call("devices").partition("List of devices attached")[2]

    def _call(self, *arguments: str, check: bool = True, timeout_s: float = 60) -> str:
        try:
            done = subprocess.run(
                [self._executable, *arguments],
                capture_output=True,
                stdin=subprocess.DEVNULL,
                text=True,
                errors="replace",
                timeout=timeout_s,
            )
        except (FileNotFoundError, PermissionError) as error:
            raise EnvironmentMissingError(
                f"{self._executable}: adb was not found",
                cause=str(error),
                hint="apt install adb, or the platform-tools of Android Studio; "
                "or run the app's self-test by hand and give its result.json",
            ) from error
        except subprocess.TimeoutExpired as error:
            raise WorkerTimeout(
                f"adb {' '.join(arguments)[:100]}: no answer in {timeout_s:g} s",
                hint="unplug the phone and plug it in again, then `adb kill-server`",
            ) from error
        if not check:
            return done.stdout + done.stderr
        if done.returncode != 0:
            raise self._failure(arguments, done.stderr.strip() or done.stdout.strip(), done.returncode)
        return done.stdout

    def _failure(self, arguments: tuple[str, ...], said: str, code: int) -> Exception:
        cause = " ".join(said.split())[:400]
        if "No space left on device" in said:
            return StorageError(
                f"{self.serial}: the phone's storage is full", cause=cause, hint="free some space on the phone"
            )
        if "unauthorized" in said:
            return self._not_ready("unauthorized")
        if "device offline" in said:
            return self._not_ready("offline")
        if "no devices" in said or re.search(r"device '.*' not found", said) or "error: closed" in said:
            return DeviceMissingError(
                f"{self.serial or 'the phone'}: the phone was disconnected",
                cause=cause,
                hint="check the cable, then run it again",
            )
        if "Permission denied" in said or "Read-only file system" in said:
            return StorageError(
                f"{self.serial}: the phone does not let adb write to the app's folder",
                cause=cause,
                hint="open the app once, which creates its folder; some phones deny adb access to it: use the app's "
                "self-test and share its result.json",
            )
        return WorkerFailed(f"adb {' '.join(arguments)[:100]}: exit {code}", cause=cause)

    def _not_ready(self, state: str) -> DeviceMissingError:
        if state == "unauthorized":
            return DeviceMissingError(
                f"{self.serial}: the phone has not allowed this computer to debug it",
                hint="unlock the phone and answer its question with Allow",
            )
        return DeviceMissingError(
            f"{self.serial}: the phone is {state}", hint="unplug it and plug it in again, then `adb kill-server`"
        )
