"""How ids are made on the client."""

import os
import time


def new_job_id(now_s: float | None = None) -> str:
    """Make a UUID version 7, whose text sorts by time (RFC 9562, section 5.7)."""
    milliseconds = int((time.time() if now_s is None else now_s) * 1000) & ((1 << 48) - 1)
    random = int.from_bytes(os.urandom(10))
    number = milliseconds << 80 | 7 << 76 | (random >> 68 & 0xFFF) << 64 | 2 << 62 | random & ((1 << 62) - 1)
    text = f"{number:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
