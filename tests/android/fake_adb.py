"""An adb that needs no phone: the messages, streams and exit codes of the real one, and a folder that is the phone.

$FAKE_ADB holds state.json: devices {serial: state}; `full`: bytes that the phone's storage still takes; `app`:
"answers", "crashes", "hangs", "refuses", "cuts" (a mask that is cut off), "stale" (an old result), "other model", "old"
(another app) or a command that is run with the job's folder; `installed`; `unplug_after`: a number of calls; `hang`:
adb itself does not answer.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

HOME = Path(os.environ["FAKE_ADB"])
STATE = json.loads((HOME / "state.json").read_text())
PHONE = HOME / "phone"
PACKAGE = "dev.segexport.demo"


def die(message: str, code: int = 1) -> None:
    print(message, file=sys.stderr)
    sys.exit(code)


def main(arguments: list[str]) -> None:
    with (HOME / "calls.log").open("a") as log:
        log.write(shlex.join(arguments) + "\n")
    if STATE.get("hang"):
        time.sleep(60)
    if arguments[0] == "version":
        print("Android Debug Bridge version 1.0.41\nVersion 34.0.5-debian\nInstalled as /usr/lib/android-sdk/adb")
        return
    if arguments[0] == "devices":
        print("List of devices attached")
        for serial, state in STATE["devices"].items():
            print(f"{serial}\t{state}")
        print()
        return
    serial = ""
    if arguments[0] == "-s":
        serial, arguments = arguments[1], arguments[2:]
    calls = len((HOME / "calls.log").read_text().splitlines())
    if serial not in STATE["devices"] or calls > STATE.get("unplug_after", 10**9):
        die(f"adb: device '{serial}' not found" if serial else "adb: no devices/emulators found")
    if STATE["devices"][serial] == "unauthorized":
        die(
            "adb: device unauthorized.\nThis adb server's $ADB_VENDOR_KEYS is not set\n"
            "Try 'adb kill-server' if that seems wrong.\nOtherwise check for a confirmation dialog on your device."
        )
    if STATE["devices"][serial] == "offline":
        die("adb: device offline")
    {"push": push, "pull": pull, "shell": shell}[arguments[0]](*arguments[1:])


def place(remote: str) -> Path:
    return PHONE / remote.lstrip("/")


def push(local: str, remote: str) -> None:
    used = sum(file.stat().st_size for file in PHONE.rglob("*") if file.is_file())
    if used + Path(local).stat().st_size > STATE.get("full", 10**12):
        die(f"adb: error: failed to copy '{local}' to '{remote}': remote write failed: No space left on device")
    if not place(remote).parent.is_dir():
        die(f"adb: error: failed to copy '{local}' to '{remote}': remote couldn't create file: Permission denied")
    shutil.copyfile(local, place(remote))
    print(f"{local}: 1 file pushed, 0 skipped. 31.4 MB/s")


def pull(remote: str, local: str) -> None:
    if not place(remote).is_file():
        die(f"adb: error: failed to stat remote object '{remote}': No such file or directory")
    shutil.copyfile(place(remote), local)
    print(f"{remote}: 1 file pulled, 0 skipped. 28.7 MB/s")


def shell(command: str) -> None:
    if command.startswith("pm list packages"):
        print(f"package:{PACKAGE}.other" + (f"\npackage:{PACKAGE}" if STATE.get("installed", True) else ""))
    elif command.startswith("getprop"):
        print("Fairphone\nFP5\n14")
    elif command.startswith("am start"):
        start(command)
    elif command.startswith("logcat"):
        print(
            "--------- beginning of crash\n11-21 12:00:00.000  4242  4242 E AndroidRuntime: FATAL EXCEPTION: self-test"
        )
        print("11-21 12:00:00.000  4242  4242 E AndroidRuntime: java.lang.UnsatisfiedLinkError: dlopen failed")
    elif "pidof" in command:
        result = re.search(r"ls (\S+)", command)[1]
        print(result if place(result).is_file() else "")
        print("4242" if STATE["app"] not in ("crashes",) else "")
    else:  # mkdir -p, rm -f, rm -rf, with am force-stop before it
        for part in command.split(";"):
            words = shlex.split(part)
            if words[0] == "am":
                continue
            target = place(words[-1])
            if words[0] == "mkdir":
                target.mkdir(parents=True, exist_ok=True)
            elif target.is_dir():
                shutil.rmtree(target)
            else:
                target.unlink(missing_ok=True)


def model_digest(folder: Path) -> str:
    """Of the model that was pushed, as the app tells it; of another one where it runs what an earlier job left."""
    if STATE["app"] == "other model":
        return "0" * 64
    files = json.loads((folder / "manifest.json").read_text())["files"]
    return next(file["sha256"] for file in files if file["role"] == "model")


def start(command: str) -> None:
    print(f"Stopping: {PACKAGE}\nStarting: Intent {{ cmp={PACKAGE}/.SelfTestActivity (has extras) }}")
    if STATE["app"] == "old":
        print(f"Error type 3\nError: Activity class {{{PACKAGE}/{PACKAGE}.SelfTestActivity}} does not exist.")
        sys.exit(1)
    print("Status: ok\nLaunchState: COLD\nTotalTime: 312\nComplete")
    folder = place(f"/sdcard/Android/data/{PACKAGE}/files/jobs/{shlex.split(command)[-1]}")
    if STATE["app"] in ("crashes", "hangs"):
        return
    if STATE["app"] not in ("answers", "refuses", "cuts", "stale", "other model"):
        subprocess.run([*STATE["app"], str(folder)], check=True, stdout=subprocess.DEVNULL)
        return
    job = json.loads((folder / "job.json").read_text())
    items = []
    for index, item in enumerate(job["items"]):
        height, width = item["tensor_size"]
        mask = bytes(2 * width * height)
        (folder / f"mask-{index}.u16").write_bytes(mask[:-1] if STATE["app"] == "cuts" else mask)
        times = {name: [5.0] * item["runs"] for name in ("preprocess_ms", "inference_ms", "postprocess_ms")}
        items.append({"input": item["input"], "mask": f"mask-{index}.u16", "width": width, "height": height, **times})
    result = {
        "schema_version": 1,
        "device": {"manufacturer": "Fairphone", "model": "FP5", "android": "14"},
        "id": "yesterday" if STATE["app"] == "stale" else job["id"],
        "model": {"name": "toy", "format": "onnx", "precision": "fp32", "sha256": model_digest(folder)},
        "runtime": {"name": "ONNX Runtime", "version": "1.26.0", "threads": job["threads"], "load_ms": 80.0},
        "items": items,
        "error": None,
    }
    if STATE["app"] == "refuses":
        result |= {"items": [], "error": {"kind": "OUT_OF_MEMORY", "message": "not enough memory for this model"}}
    (folder / "result.json").write_text(json.dumps(result))


main(sys.argv[1:])
