"""Are the settings of a host ones that kernels and engines know?"""

import json
from pathlib import Path

from tests.ops.conftest import OPS

# What this file's kernel may have been built without; all others are in every kernel since 5.10.
OPTIONAL = {"kernel.unprivileged_bpf_disabled", "net.core.bpf_jit_harden"}


def test_every_kernel_setting_exists() -> None:
    lines = (OPS / "sysctl.d" / "60-leasebox.conf").read_text().splitlines()
    names = {line.partition("=")[0].strip() for line in lines if line and not line.startswith("#")}

    missing = {name for name in names if not Path("/proc/sys", *name.split(".")).exists()}

    assert names
    assert missing <= OPTIONAL


def test_the_page_explains_every_setting_of_the_engine() -> None:
    page = (OPS.parent / "docs" / "how-to" / "host.md").read_text()

    assert not [name for name in json.loads((OPS / "docker" / "daemon.json").read_text()) if name not in page]
