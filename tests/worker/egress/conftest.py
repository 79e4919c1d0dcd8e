"""What do tests of the egress proxy stand on? A TLS origin on loopback, and ways that lead public addresses to it.

The checks are the real ones: the names of these tests resolve to public addresses, and only the dialling of an address
that passed is turned to loopback. There is no setting that does the same.
"""

import asyncio
import os
import shutil
import ssl
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from leasebox_guest.install import install
from leasebox_worker.drivers.base import Driver, DriverSettings
from leasebox_worker.drivers.bubblewrap import BubblewrapDriver
from leasebox_worker.drivers.bubblewrap_arguments import Mode
from leasebox_worker.drivers.docker import DockerDriver
from leasebox_worker.egress.caps import Caps
from leasebox_worker.egress.proxy import Egress
from leasebox_worker.egress.ways import STREAM_BYTES, Streams, Ways
from leasebox_worker.engine.sandboxes import Placement

PUBLIC = "93.184.215.14"
NAMES = ("allowed.test", "sub.allowed.test", "other.test", "inside.test", "loop.test", "mapped.test", "mixed.test")
BOOK = {
    "allowed.test": [PUBLIC],
    "sub.allowed.test": [PUBLIC],
    "other.test": [PUBLIC],
    "inside.test": ["169.254.169.254"],
    "loop.test": ["::1", "127.0.0.1"],
    "mapped.test": ["::ffff:10.0.0.1", "64:ff9b::a9fe:a9fe"],
    "mixed.test": ["10.0.0.1", PUBLIC],
}


@dataclass
class Origin:
    """A TLS server that has a certificate for every name of `NAMES`."""

    port: int
    ca: str
    pages: dict[str, bytes]
    received: list[bytes] = field(default_factory=list)


@dataclass
class Journal:
    """What the proxy asked for and where it went."""

    book: dict[str, list[str]] = field(default_factory=lambda: dict(BOOK))
    resolved: list[str] = field(default_factory=list)
    dialled: list[tuple[str, int]] = field(default_factory=list)
    dead: set[str] = field(default_factory=set)


def _certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate authority, and by it a certificate for all names; the paths of the authority and of the server."""
    if shutil.which("openssl") is None:
        pytest.fail("openssl is missing: apt-get install openssl")
    names = ",".join(f"DNS:{name}" for name in NAMES)
    script = f"""
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout ca.key -out ca.pem -days 30 \
        -subj /CN=test-ca -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout s.key -out s.csr -subj /CN=allowed.test
    printf 'subjectAltName={names}\\nbasicConstraints=CA:FALSE\\n' > s.ext
    openssl x509 -req -in s.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 -extfile s.ext -out s.pem
    cat s.key >> s.pem
    """
    subprocess.run(["sh", "-ec", script], cwd=folder, check=True, capture_output=True)
    return folder / "ca.pem", folder / "s.pem"


@pytest.fixture(scope="session")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Origin]:
    """The server; `pages` may be filled by a test, `/bytes/N` answers N bytes."""
    authority, server = _certificate(tmp_path_factory.mktemp("tls"))
    made = Origin(0, authority.read_text(), {"/": b"hello from outside"})

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            count = self.path.removeprefix("/bytes/")
            body = b"x" * int(count) if count.isdigit() else made.pages.get(self.path)
            self.send_response(404 if body is None else 200)
            self.send_header("Content-Length", str(len(body or b"")))
            self.send_header("Content-Type", "text/html" if self.path.endswith("/") else "application/octet-stream")
            self.end_headers()
            self.wfile.write(body or b"")

        def do_POST(self) -> None:
            made.received.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def finish_request(self, request, client_address) -> None:  # type: ignore[no-untyped-def]
            try:
                with context.wrap_socket(request, server_side=True) as wrapped:
                    super().finish_request(wrapped, client_address)
            except OSError:
                pass  # a tunnel that was cut

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(server)
    with Server(("127.0.0.1", 0), Handler) as listening:
        made.port = listening.server_address[1]
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        yield made
        listening.shutdown()


@pytest.fixture
def journal() -> Journal:
    return Journal()


@pytest.fixture
def ways(origin: Origin, journal: Journal) -> Ways:
    """Names by the journal's book; every public address is the origin."""

    async def resolve(name: str) -> list[str]:
        journal.resolved.append(name)
        if name in journal.dead:
            await asyncio.Event().wait()
        if name not in journal.book:
            raise OSError("no such name")
        return journal.book[name]

    async def dial(address: str, port: int) -> Streams:
        journal.dialled.append((address, port))
        if address in journal.dead:
            raise ConnectionRefusedError(address)
        return await asyncio.open_connection("127.0.0.1", origin.port, limit=STREAM_BYTES)

    return Ways(resolve, dial)


@pytest.fixture
def caps() -> Caps:
    """Short enough to be reached in a test."""
    return Caps(head_within_s=3.0, reach_within_s=3.0)


@pytest.fixture
def egress_root() -> Iterator[Path]:
    """Reachable by every uid."""
    root = Path(tempfile.mkdtemp(prefix="lbx-", dir="/tmp"))
    root.chmod(0o755)
    yield root / "egress" / "n"
    shutil.rmtree(root)


@pytest.fixture
def egress(egress_root: Path, caps: Caps, ways: Ways) -> Iterator[Egress]:
    made = Egress(egress_root, caps=caps, ways=ways)
    yield made
    made.close()


@pytest.fixture(scope="session")
def agent_dir() -> Iterator[Path]:
    root = Path(tempfile.mkdtemp(prefix="lbd-", dir="/tmp"))
    root.chmod(0o755)
    yield install(root, None)
    shutil.rmtree(root)


@pytest.fixture
def placement(agent_dir: Path, egress: Egress) -> Placement:
    """Where sandboxes with a network are made."""
    return Placement(
        incarnation="i", agent_dir=agent_dir, dead_man_s=60.0, agent_exit_s=120.0, ready_within_s=30.0, egress=egress
    )


@pytest.fixture(scope="session", params=["docker", "bubblewrap", "bubblewrap-rootless"])
def driver(request: pytest.FixtureRequest, run_id: str) -> Iterator[Driver]:
    """Every driver that can hold a job to a list."""
    request.getfixturevalue("python_image" if request.param == "docker" else "bwrap")
    state = Path(tempfile.mkdtemp(prefix="lbs-", dir="/tmp"))
    state.chmod(0o711)
    settings = DriverSettings(installation=run_id, node="egress", state_dir=state)
    made: Driver
    if request.param == "docker":
        made = DockerDriver(settings)
    else:
        is_root = request.param == "bubblewrap"
        if is_root and os.geteuid() != 0:
            pytest.skip("bubblewrap's root form needs root: run the tests with sudo")
        made = BubblewrapDriver(settings, Mode.ROOT if is_root else Mode.ROOTLESS)
    yield made
    made.close()
    shutil.rmtree(state, ignore_errors=True)
