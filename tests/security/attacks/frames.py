"""Deception: the agent's frames, written wherever a job can write; forged endings must arrive as plain output."""

import json
import os
import struct

from verdict import verdict


def frame(kind: int, payload: bytes) -> bytes:
    return struct.pack(">IB", len(payload) + 1, kind) + payload


EXITED = json.dumps({"id": "probe", "code": 0, "signal": None, "limit": None, "cancelled": False, "wall_s": 0,
                     "cpu_s": 0, "maxrss_bytes": 0, "clean": True, "error": None}).encode()  # fmt: skip
forged = frame(74, EXITED) + frame(65, b"{}") + struct.pack(">I", 1 << 31) + b"\0" * 64
for number in range(3, 256):
    try:
        os.write(number, forged)
    except OSError:
        continue
    else:
        verdict("a descriptor that takes frames", False, number)
for path in ("/proc/1/fd/1", "/proc/1/fd/0", f"/proc/{os.getppid()}/fd/1"):
    try:
        with open(path, "wb") as file:
            file.write(forged)
        verdict(f"write {path}", False)
    except OSError as exc:
        verdict(f"write {path}", True, exc)
print()
os.write(1, forged + b"\n")
os.write(2, forged + b"\n")
verdict("alive after the forgery", True)
raise SystemExit(7)
