"""How full is a sandbox's workspace? Seen from the host, through the root folder of its first process."""

import os

from leasebox_worker.drivers.hardening import WORKSPACE


def used_bytes(pid: int) -> int | None:
    """Bytes in use; None where this process may not look into that one's root.

    Only for sandboxes whose workspace is a file system of its own. Nothing is opened: the root is read-only inside, so
    the path cannot be made to lead elsewhere.
    """
    try:
        seen = os.statvfs(f"/proc/{pid}/root{WORKSPACE}")
    except OSError:
        return None
    return (seen.f_blocks - seen.f_bfree) * seen.f_frsize
