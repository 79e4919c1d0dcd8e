"""What does the proxy do with one connection, with many, and with those that do not behave? Spoken to by its socket."""

import json
import os
import socket
import ssl
import stat
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from leasebox.contract.audit import Signer
from leasebox.contract.keys import Keys
from leasebox.contract.scripts import Runner
from leasebox_worker.egress.caps import Caps
from leasebox_worker.egress.door import SOCKET, Traffic, Visit
from leasebox_worker.egress.proxy import Egress, OpenDoor
from leasebox_worker.egress.refusal import RefusedError
from leasebox_worker.egress.ways import Ways, dial, resolver
from leasebox_worker.telemetry.audit import AuditLog

PATIENCE_S = 20.0
ASK = b"CONNECT allowed.test:443 HTTP/1.1\r\n\r\n"
VISIT = Visit("job-1", "s-1", ("allowed.test", "mixed.test"))


class Guest:
    """A job's program, at the place where the agent joins it to the socket."""

    def __init__(self, opened: OpenDoor, ca: str) -> None:
        self.path = str(opened.folder / SOCKET)
        self._context = ssl.create_default_context(cadata=ca)

    def connect(self) -> socket.socket:
        made = socket.socket(socket.AF_UNIX)
        made.settimeout(PATIENCE_S)
        made.connect(self.path)
        return made

    def ask(self, request: bytes = ASK) -> tuple[socket.socket, bytes]:
        """The connection, and what it was answered at first."""
        made = self.connect()
        with suppress(BrokenPipeError):  # turned away unheard; the answer is there
            made.sendall(request)
        return made, until(made, b"\r\n\r\n")

    def get(self, path: str = "/", name: str = "allowed.test") -> bytes:
        """A whole https exchange."""
        raw, said = self.ask(f"CONNECT {name}:443 HTTP/1.1\r\n\r\n".encode())
        assert b" 200 " in said, said
        with self._context.wrap_socket(raw, server_hostname=name) as tls:
            tls.sendall(f"GET {path} HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n".encode())
            return until(tls, None).split(b"\r\n\r\n", 1)[1]


def until(connection: socket.socket, mark: bytes | None) -> bytes:
    """What comes up to the mark, or to the end."""
    data = b""
    while mark is None or mark not in data:
        try:
            more = connection.recv(1 << 16)
        except (ConnectionError, ssl.SSLError):
            break
        if not more:
            break
        data += more
    return data


@pytest.fixture
def opened(egress: Egress) -> Iterator[OpenDoor]:
    """A door of a sandbox `box`."""
    egress.make_folder("box")
    made = egress.open("box", VISIT)
    yield made
    egress.shut(made)


@pytest.fixture
def guest(opened: OpenDoor, origin: Any) -> Guest:
    return Guest(opened, origin.ca)


def caps_of(**bounds: Any) -> Any:
    """Give the test's proxy other bounds."""
    return pytest.mark.parametrize("caps", [Caps(**{"head_within_s": 3.0, "reach_within_s": 3.0, **bounds})])


def test_a_job_gets_what_it_asks_for(guest: Guest, journal: Any) -> None:
    assert guest.get() == b"hello from outside"
    assert journal.dialled == [("93.184.215.14", 443)]


def test_the_greeting_may_come_with_the_request(guest: Guest, origin: Any) -> None:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = ssl.create_default_context(cadata=origin.ca).wrap_bio(incoming, outgoing, server_hostname="allowed.test")
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    raw, said = guest.ask(ASK + outgoing.read())
    incoming.write(said.split(b"\r\n\r\n", 1)[1] or raw.recv(1 << 16))

    tls.do_handshake()

    assert tls.getpeercert()


def test_only_the_checked_address_is_dialled_and_the_name_is_asked_for_once(guest: Guest, journal: Any) -> None:
    """Rebinding: whatever the name leads to afterwards, nobody asks again."""
    journal.book = {"allowed.test": ["10.0.0.1", "93.184.215.14", "::1"]}
    first = journal.book["allowed.test"]

    class Rebinding(dict):  # type: ignore[type-arg]
        def __getitem__(self, name: str) -> list[str]:
            return first if len(journal.resolved) == 1 else ["127.0.0.1"]

    journal.book = Rebinding(journal.book)

    assert guest.get() == b"hello from outside"
    assert (journal.resolved, journal.dialled) == (["allowed.test"], [("93.184.215.14", 443)])
    assert b" 403 " in guest.ask()[1]
    assert len(journal.dialled) == 1


def test_nothing_is_forwarded_before_the_name_in_the_greeting_was_seen(egress: Egress, origin: Any) -> None:
    egress.make_folder("box")
    opened = egress.open("box", VISIT)
    raw, said = Guest(opened, origin.ca).ask()
    assert b" 200 " in said
    raw.sendall(b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello")

    assert until(raw, None) == b""
    assert egress.shut(opened) == Traffic(0, 0, 1)


def test_each_refusal_is_told_in_the_audit_log_up_to_its_bound(
    egress_root: Path, ways: Ways, origin: Any, redis: Any, prefix: str
) -> None:
    audit = AuditLog(Runner(redis), Keys(prefix), Signer(), "n")
    egress = Egress(egress_root, caps=Caps(audited_refusals=2), ways=ways, audit=audit)
    egress.make_folder("box")
    opened = egress.open("box", Visit("job-1", "s-1", ("allowed.test",), "acme"))
    for _ in range(5):
        Guest(opened, origin.ca).ask(b"CONNECT other.test:443 HTTP/1.1\r\n\r\n")
    egress.shut(opened)
    egress.close()
    audit.flush()

    found = [json.loads(fields[b"json"]) for _, fields in redis.xrange(Keys(prefix).audit())]
    assert [(one["action"], one["target"], one["result"]) for one in found] == [
        ("network.connect", "other.test", "name"),
        ("network.connect", "other.test", "name"),
        ("network.connect", "", "refused"),
    ]
    assert found[0]["more"] == {"job": "job-1", "session": "s-1"}
    assert (found[2]["tenant"], found[2]["more"]["count"]) == ("acme", 3)


def test_a_folder_can_be_read_by_all_and_written_by_its_owner_alone(opened: OpenDoor) -> None:
    assert stat.S_IMODE(opened.folder.stat().st_mode) == 0o755
    assert stat.S_IMODE((opened.folder / SOCKET).stat().st_mode) == 0o666
    assert stat.S_IMODE(opened.folder.parent.stat().st_mode) == 0o711


def test_a_shut_door_cuts_everything_and_its_socket_is_gone(egress: Egress, origin: Any) -> None:
    egress.make_folder("box")
    opened = egress.open("box", VISIT)
    raw, said = Guest(opened, origin.ca).ask()
    assert b" 200 " in said

    egress.shut(opened)

    assert until(raw, None) == b""
    assert not (opened.folder / SOCKET).exists()


def test_a_socket_of_a_killed_worker_is_in_nobodys_way(egress: Egress, origin: Any) -> None:
    folder = egress.make_folder("box")
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(folder / SOCKET))
    opened = egress.open("box", VISIT)

    assert Guest(opened, origin.ca).get() == b"hello from outside"
    egress.shut(opened)


def test_a_deep_state_folder_is_no_trouble(tmp_path: Path, ways: Ways, origin: Any) -> None:
    """A socket's path has 107 bytes at most."""
    egress = Egress(tmp_path / ("d" * 100) / "n", ways=ways)
    folder = egress.make_folder("box")
    opened = egress.open("box", VISIT)
    descriptor = os.open(folder, os.O_PATH)
    with socket.socket(socket.AF_UNIX) as guest:
        guest.connect(f"/proc/self/fd/{descriptor}/{SOCKET}")
        guest.sendall(ASK)
        assert b" 200 " in until(guest, b"\r\n\r\n")
    os.close(descriptor)
    egress.shut(opened)
    egress.close()


def test_a_sweep_removes_the_folders_of_the_dead_alone(egress: Egress) -> None:
    alive, dead = egress.make_folder("alive"), egress.make_folder("dead")
    egress.sweep(["alive", "another"])

    assert alive.is_dir()
    assert not dead.exists()


@caps_of(total_bytes=100_000)
def test_a_job_that_has_used_up_its_bytes_gets_no_more(guest: Guest) -> None:
    with pytest.raises((AssertionError, IndexError, ssl.SSLError, ConnectionError)):
        assert len(guest.get("/bytes/1000000")) == 1_000_000

    with capture_logs() as logs:
        assert b" 403 this job has used up its network bytes" in guest.ask()[1]
    assert [line["reason"] for line in logs] == ["bytes"]


@caps_of(bytes_per_s=400_000)
def test_bandwidth_is_bounded(guest: Guest, egress: Egress) -> None:
    """A second's worth is free; the other 800 kB take two seconds at least, however fast the machine."""
    began = time.monotonic()
    assert len(guest.get("/bytes/1200000")) == 1_200_000

    assert time.monotonic() - began > 1.5


@caps_of(connections=3, connections_per_s=1000.0)
def test_connections_are_bounded_and_a_place_is_free_again(guest: Guest, eventually: Any) -> None:
    kept = [guest.ask()[0] for _ in range(3)]
    with capture_logs() as logs:
        assert b" 503 " in guest.ask()[1]
    assert [line["reason"] for line in logs] == ["busy"]
    for one in kept:
        one.close()

    eventually(lambda: b" 200 " in guest.ask()[1], within_s=PATIENCE_S)


@caps_of(connections=4, connections_per_s=5.0)
def test_new_connections_are_bounded_by_time(guest: Guest) -> None:
    """Four may come at once, then five a second: the ninth cannot be answered before 0.8 s have passed."""
    began = time.monotonic()
    for _ in range(9):
        raw, _said = guest.ask(b"x\r\n\r\n")
        raw.close()

    assert time.monotonic() - began > 0.75


@caps_of(head_within_s=0.2)
@pytest.mark.parametrize("request_part", [b"", b"CONNECT allowed.te", ASK], ids=["nothing", "a part", "no greeting"])
def test_a_slow_guest_is_cut(guest: Guest, request_part: bytes) -> None:
    raw = guest.connect()
    raw.sendall(request_part)

    until(raw, None)  # returns: the proxy has ended it


@caps_of(idle_s=0.2)
def test_an_idle_connection_is_cut(guest: Guest, origin: Any) -> None:
    raw, _ = guest.ask()
    tls = ssl.create_default_context(cadata=origin.ca).wrap_socket(raw, server_hostname="allowed.test")
    with capture_logs() as logs:
        assert until(tls, None) == b""
        guest.ask(b"x\r\n\r\n")

    assert [line["reason"] for line in logs if line["reason"] != "syntax"] == ["idle"]


@caps_of(idle_s=0.5, head_within_s=0.5)
def test_a_guest_that_does_not_read_is_cut(guest: Guest, origin: Any, eventually: Any) -> None:
    raw, _ = guest.ask()
    tls = ssl.create_default_context(cadata=origin.ca).wrap_socket(raw, server_hostname="allowed.test")
    with capture_logs() as logs:
        tls.sendall(b"GET /bytes/9000000 HTTP/1.1\r\nHost: allowed.test\r\n\r\n")
        eventually(lambda: [line["reason"] for line in logs] == ["idle"], within_s=PATIENCE_S)


def test_a_head_without_end_is_refused(guest: Guest) -> None:
    raw = guest.connect()
    with suppress(OSError):
        while True:
            raw.sendall(b"CONNECT " + b"x" * 60_000)

    assert b" 400 " in until(raw, None)


@caps_of(reach_within_s=0.2)
def test_a_name_that_does_not_resolve_or_answer_is_told_apart(guest: Guest, journal: Any) -> None:
    journal.dead = {"mixed.test", "93.184.215.14"}

    assert b" 502 the host does not answer" in guest.ask()[1]
    assert b" 502 the name does not resolve" in guest.ask(ASK.replace(b"allowed", b"mixed"))[1]
    journal.book = {}
    assert b" 502 the name does not resolve" in guest.ask()[1]


def test_the_next_address_is_tried_when_one_does_not_answer(guest: Guest, journal: Any) -> None:
    journal.book = {"allowed.test": ["8.8.8.8", "93.184.215.14"]}
    journal.dead = {"8.8.8.8"}

    assert guest.get() == b"hello from outside"
    assert journal.dialled == [("8.8.8.8", 443), ("93.184.215.14", 443)]


def test_the_whole_worker_has_a_bound_of_connections(guest: Guest, egress: Egress) -> None:
    egress._room.places = 1
    kept, said = guest.ask()

    assert b" 200 " in said
    assert b" 503 " in guest.ask()[1]
    kept.close()


@caps_of(logged_refusals=3, connections_per_s=1000.0)
def test_a_flood_of_refusals_does_not_flood_the_log(egress: Egress, origin: Any) -> None:
    egress.make_folder("box")
    opened = egress.open("box", VISIT)
    with capture_logs() as logs:
        for _ in range(10):
            Guest(opened, origin.ca).ask(b"CONNECT a\x1b[31m.test:443 HTTP/1.1\r\n\r\n")
        traffic = egress.shut(opened)

    assert traffic.refused == 10
    assert [line["event"] for line in logs] == ["egress_refused"] * 3 + ["egress_refusals_not_logged"]
    assert logs[-1]["count"] == 7
    assert logs[0]["name"].isprintable()


async def test_an_address_of_this_host_is_not_dialled() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening, pytest.raises(RefusedError):
        await dial("127.0.0.1", listening.getsockname()[1])


async def test_a_name_that_nobody_has_does_not_resolve() -> None:
    with pytest.raises(OSError):
        await resolver()("nobody.invalid")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(st.binary(min_size=1, max_size=200), st.booleans())
@caps_of(head_within_s=0.5, connections_per_s=10_000.0)
def test_any_bytes_leave_the_proxy_serving(guest: Guest, origin: Any, data: bytes, after_connect: bool) -> None:
    raw = guest.connect()
    raw.sendall(ASK + data if after_connect else data)
    raw.shutdown(socket.SHUT_WR)
    until(raw, None)
    raw.close()

    assert origin.received == []
    assert guest.get() == b"hello from outside"
