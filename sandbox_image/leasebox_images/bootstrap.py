"""Where does the first layer come from when no registry is reachable? From Debian's archive, by `mmdebstrap`.

The machine's own apt sources are used, so a mirror that is configured there serves here too.
"""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from leasebox.contract.errors import ImageMissing
from leasebox_images.digest import text_digest

BASE = "leasebox/base"
SUITE = "bookworm"
_PACKAGES = ("ca-certificates", "bash")
_VARIANT = "minbase"


def can_bootstrap() -> bool:
    """Whether this machine can make a base by itself: `mmdebstrap` and root."""
    return os.geteuid() == 0 and shutil.which("mmdebstrap") is not None


def base_digest() -> str:
    """Names what `make_base` would make now."""
    return text_digest((SUITE, _VARIANT, *_PACKAGES))


def make_base(target: Path) -> None:
    """Write the root file system of a minimal Debian as a tar file; takes about 20-40 s.

    Raises:
        ImageMissing: `mmdebstrap` failed; the detail has the tail of what it said.
    """
    command = ["mmdebstrap", f"--variant={_VARIANT}", f"--include={','.join(_PACKAGES)}", SUITE, str(target)]
    with tempfile.TemporaryFile() as said:
        code = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=said, stderr=said, check=False).returncode
        if code:
            said.seek(0)
            tail = said.read()[-2000:].decode(errors="replace")
            raise ImageMissing(f"mmdebstrap ended with {code}: {tail}", hint="check the machine's apt sources")
