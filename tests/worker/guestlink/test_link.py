"""One agent's channel, seen from the host: a scripted peer for what must not happen, a real agent for what must."""

import json
import select
import socket
import threading
import time
from collections.abc import Iterator

import pytest
from tests.conftest import Eventually

from leasebox.contract.errors import GuestProtocolError, SandboxDied, StartFailed
from leasebox_guest.frames import STDIN_WINDOW, Decoder, FrameError, Kind, pack, pack_json
from leasebox_worker.drivers.base import ChannelClosed
from leasebox_worker.guestlink.link import GuestLink
from leasebox_worker.guestlink.messages import Exited, Output
from leasebox_worker.guestlink.orders import Exec
from leasebox_worker.guestlink.stdin import CHUNK, chunked

READY = {"version": 1, "python": "3.11.9", "interpreter": "none"}
ENDED = {
    "code": 0, "signal": None, "limit": None, "cancelled": False, "wall_s": 0.1, "cpu_s": 0.1, "maxrss_bytes": 1,
    "clean": True, "error": None, "interpreter": "none",
}  # fmt: skip


class SocketChannel:
    """One end of a socket pair."""

    def __init__(self, end: socket.socket) -> None:
        self._socket = end
        self.crash_text = "last words"
        self.before_receive = lambda: None

    def send(self, data: bytes) -> None:
        try:
            self._socket.sendall(data)
        except OSError as exc:
            raise ChannelClosed(str(exc)) from exc

    def receive(self, timeout_s: float | None) -> bytes | None:
        self.before_receive()
        if not select.select([self._socket], [], [], timeout_s)[0]:
            return None
        data = self._socket.recv(1 << 18)
        if not data:
            raise ChannelClosed("ended")
        return data

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()


class Peer:
    """The agent's end: says what the test wants, and knows what it was told."""

    def __init__(self, end: socket.socket) -> None:
        self.socket = end
        self._decoder = Decoder()

    def say(self, kind: Kind, **fields: object) -> None:
        self.socket.sendall(pack_json(kind, fields))

    def write(self, data: bytes) -> None:
        self.socket.sendall(pack(Kind.STDOUT, data))

    def told(self) -> list[tuple[int, bytes]]:
        """What has come since the last call, without waiting."""
        found = []
        while select.select([self.socket], [], [], 0)[0] and (data := self.socket.recv(1 << 20)):
            found += self._decoder.feed(data)
        return found

    def stdin(self) -> list[int]:
        return [len(payload) for kind, payload in self.told() if kind == Kind.STDIN]


@pytest.fixture
def pair() -> Iterator[tuple[GuestLink, Peer, SocketChannel]]:
    ours, theirs = socket.socketpair()
    channel = SocketChannel(ours)
    yield GuestLink(channel), Peer(theirs), channel
    ours.close()
    theirs.close()


def request(lease: str = "i:1", **fields: object) -> Exec:
    given = {
        "id": f"{lease}/python", "kind": "python", "argv": ("main.py",), "code_bytes": 1, "code_path": "main.py",
        "cwd": "/workspace", "env": {}, "wall_s": 5.0, "cpu_s": None, "silence_s": None, "stream_bytes": 1 << 20,
        "line_buffered": True, "cancel_grace_s": 1.0,
    }  # fmt: skip
    return Exec(**{**given, **fields})  # type: ignore[arg-type]


def test_a_link_is_open_once_the_agent_is_ready(pair: tuple[GuestLink, Peer, SocketChannel]) -> None:
    link, peer, _ = pair
    peer.say(Kind.READY, **READY)
    link.open(1.0)

    assert link.python == "3.11.9"
    assert [kind for kind, _ in peer.told()] == [Kind.HELLO]


def test_an_agent_that_ends_at_its_start_is_a_failed_start_with_its_last_words(
    pair: tuple[GuestLink, Peer, SocketChannel],
) -> None:
    link, peer, _ = pair
    peer.socket.shutdown(socket.SHUT_WR)

    with pytest.raises(StartFailed, match="last words"):
        link.open(1.0)


def test_an_agent_that_says_nothing_is_a_failed_start(pair: tuple[GuestLink, Peer, SocketChannel]) -> None:
    link, _, _ = pair

    with pytest.raises(StartFailed, match="no sign"):
        link.open(0.02)


def _answer_resync(peer: Peer, before: bytes, portions: int) -> None:
    """Wait for a RESYNC, then say what the former host was told, and READY with the token, in small portions."""
    kinds: list[tuple[int, bytes]] = []
    while not kinds:
        select.select([peer.socket], [], [], 5.0)
        kinds = peer.told()
    token = json.loads(kinds[-1][1])["token"]
    said = before + pack_json(Kind.READY, {"token": token, **READY})
    step = max(1, len(said) // portions)
    for at in range(0, len(said), step):
        peer.socket.sendall(said[at : at + step])


@pytest.mark.parametrize("portions", [1, 7, 1000])
@pytest.mark.parametrize(
    "before",
    [b"", b"half a frame\xff\xff\xff", pack(Kind.STDOUT, b'{"token": "' + b"x" * 5000)],
    ids=["nothing", "half a frame", "output that looks alike"],
)
def test_an_agent_of_another_worker_is_found_by_the_token_whatever_it_said_before(
    pair: tuple[GuestLink, Peer, SocketChannel], before: bytes, portions: int
) -> None:
    link, peer, _ = pair
    agent = threading.Thread(target=_answer_resync, args=(peer, before, portions))
    agent.start()
    link.open_again(5.0)
    agent.join(30.0)

    assert link.python == "3.11.9"
    link.check()
    assert not link.is_broken


def test_an_agent_that_takes_the_first_words_for_the_rest_of_a_frame_is_asked_again(
    pair: tuple[GuestLink, Peer, SocketChannel],
) -> None:
    link, peer, _ = pair
    opener = threading.Thread(target=link.open_again, args=(0.3,))
    opener.start()
    select.select([peer.socket], [], [], 5.0)
    first = json.loads(peer.told()[0][1])["token"]
    _answer_resync(peer, b"", 1)
    opener.join(30.0)

    assert link.python == "3.11.9"
    assert first


def test_an_agent_that_answers_nobody_is_dead(pair: tuple[GuestLink, Peer, SocketChannel]) -> None:
    link, _, _ = pair

    with pytest.raises(SandboxDied, match="did not answer"):
        link.open_again(0.02)


def test_an_idle_agent_that_ended_is_found_out_without_a_word_to_it(
    pair: tuple[GuestLink, Peer, SocketChannel],
) -> None:
    link, peer, _ = pair
    link.check()
    told = peer.told()
    peer.socket.close()

    assert told == []
    with pytest.raises(SandboxDied):
        link.check()


def test_input_goes_out_in_the_window_and_on_credit_and_is_then_closed(
    pair: tuple[GuestLink, Peer, SocketChannel],
) -> None:
    link, peer, _ = pair
    reader = threading.Thread(target=lambda: link.execute(request(), b"1", chunked(b"x" * (STDIN_WINDOW + 1))))
    reader.start()
    reader.join(30.0)
    first = peer.stdin()
    peer.say(Kind.CREDIT, n=CHUNK)
    link.read(1.0)

    assert first == [CHUNK, CHUNK]
    assert peer.stdin() == [1]
    peer.say(Kind.CREDIT, n=CHUNK)
    link.read(1.0)
    assert peer.stdin() == [0]


def test_live_input_waits_for_credit_and_goes_out_in_order(
    pair: tuple[GuestLink, Peer, SocketChannel], eventually: Eventually
) -> None:
    link, peer, _ = pair
    link.execute(request(), b"1", None)
    assert link.feed("i:1", b"a", is_end=False)
    fed: list[bool] = []
    feeder = threading.Thread(target=lambda: fed.append(link.feed("i:1", b"x" * STDIN_WINDOW, is_end=True)))
    feeder.start()
    first: list[int] = []
    eventually(lambda: first.extend(peer.stdin()) or len(first) == 2)

    assert first == [1, CHUNK]  # the window has no room for a whole second chunk
    assert feeder.is_alive()
    peer.say(Kind.CREDIT, n=1)
    link.read(0.2)
    feeder.join(30.0)
    assert (fed, peer.stdin()) == ([True], [CHUNK, 0])


@pytest.mark.parametrize("end", ["exited", "closed", "another job"])
def test_live_input_that_waits_ends_with_its_job(
    pair: tuple[GuestLink, Peer, SocketChannel], eventually: Eventually, end: str
) -> None:
    link, peer, _ = pair
    link.execute(request(), b"1", None)
    fed: list[bool] = []
    feeder = threading.Thread(target=lambda: fed.append(link.feed("i:1", b"x" * (4 * CHUNK), is_end=True)))
    feeder.start()
    sent: list[int] = []
    eventually(lambda: sent.extend(peer.stdin()) or len(sent) == 2)
    if end == "closed":
        link.close()
    else:
        peer.say(Kind.EXITED, id="i:1/python", **ENDED)
        link.read(1.0)
    if end == "another job":
        link.execute(request("i:2"), b"1", None)
    feeder.join(30.0)

    assert fed == [False]
    if end == "another job":
        peer.told()
        assert not link.feed("i:1", b"late", is_end=False)
        assert link.feed("i:2", b"x" * CHUNK, is_end=False)
        assert peer.stdin() == [CHUNK]


def test_the_window_opens_anew_with_each_job(pair: tuple[GuestLink, Peer, SocketChannel]) -> None:
    link, peer, _ = pair
    for lease in ("i:1", "i:2"):
        link.execute(request(lease), b"1", chunked(b"x" * (3 * CHUNK)))
        assert peer.stdin() == [CHUNK, CHUNK]
        peer.say(Kind.EXITED, id=f"{lease}/python", **ENDED)
        assert isinstance(link.read(1.0)[0], Exited)


def test_a_ping_that_found_the_link_idle_takes_no_word_of_a_job_that_starts_meanwhile(
    pair: tuple[GuestLink, Peer, SocketChannel],
) -> None:
    link, peer, channel = pair
    starter = threading.Thread(target=lambda: link.execute(request(), b"1", ()))

    def start_and_answer() -> None:
        channel.before_receive = lambda: None
        starter.start()
        starter.join(0.1)
        if not starter.is_alive():
            peer.write(b"42")

    channel.before_receive = start_and_answer
    link.ping()
    starter.join(30.0)
    peer.write(b"43")
    said = b""
    while b"43" not in said:
        said += b"".join(message.data for message in link.read(1.0) if isinstance(message, Output))

    assert said in (b"43", b"4243")
    assert any(kind == Kind.EXEC for kind, _ in peer.told())


def test_a_ping_does_not_wait_for_an_agent_that_takes_nothing(pair: tuple[GuestLink, Peer, SocketChannel]) -> None:
    link, peer, _ = pair
    sender = threading.Thread(target=_until_closed, args=(link,), daemon=True)
    sender.start()
    while not select.select([peer.socket], [], [], 1.0)[0]:
        pass
    sender.join(0.1)  # its socket is full by now
    began = time.monotonic()
    link.ping()
    link.cancel("i:1", 1.0)

    assert sender.is_alive()
    assert time.monotonic() - began < 2.0
    peer.socket.close()
    sender.join(30.0)


def _until_closed(link: GuestLink) -> None:
    with pytest.raises(SandboxDied):
        link.execute(request(), b"x" * (16 << 20), ())


def test_a_cancel_names_the_job_and_never_meets_the_next_one(pair: tuple[GuestLink, Peer, SocketChannel]) -> None:
    link, peer, _ = pair
    link.cancel("i:1", 1.0)
    link.execute(request("i:11"), b"1", ())
    link.cancel("i:1", 1.0)
    before = [kind for kind, _ in peer.told()]
    link.cancel("i:11", 0.5)

    assert Kind.CANCEL not in before
    assert [json.loads(payload) for kind, payload in peer.told() if kind == Kind.CANCEL] == [
        {"id": "i:11/python", "grace_s": 0.5}
    ]


def test_a_held_job_is_confirmed_by_the_agent_alone(pair: tuple[GuestLink, Peer, SocketChannel]) -> None:
    link, peer, _ = pair
    link.execute(request(), b"1", ())
    assert not link.hold(0.1)
    assert link.is_held

    peer.say(Kind.HELD)
    assert link.hold(5.0)
    link.resume()
    link.resume()
    told = [kind for kind, _ in peer.told() if kind in (Kind.HOLD, Kind.RESUME)]

    assert told == [Kind.HOLD, Kind.RESUME]
    assert not link.is_held
    assert link.held_s > 0.1


def test_what_a_job_says_while_it_is_being_held_is_kept_for_its_reader(
    pair: tuple[GuestLink, Peer, SocketChannel],
) -> None:
    link, peer, _ = pair
    link.execute(request(), b"1", ())
    peer.write(b"42")
    peer.say(Kind.EXITED, id="i:1/python", **ENDED)
    peer.say(Kind.HELD)
    assert link.hold(5.0)

    output, exited = link.read(0.0)
    assert (output, exited.code) == (Output("stdout", b"42"), 0)


def test_a_hold_of_an_idle_agent_says_nothing_to_it(pair: tuple[GuestLink, Peer, SocketChannel]) -> None:
    link, peer, _ = pair
    assert link.hold(0.1)
    assert not link.is_held
    assert peer.told() == []


def test_a_job_that_ended_while_it_was_held_leaves_an_agent_that_is_let_go(
    pair: tuple[GuestLink, Peer, SocketChannel],
) -> None:
    link, peer, _ = pair
    link.execute(request(), b"1", ())
    peer.say(Kind.EXITED, id="i:1/python", **ENDED)
    peer.say(Kind.HELD)
    link.hold(5.0)
    link.read(0.0)
    link.resume()

    assert Kind.RESUME in [kind for kind, _ in peer.told()]


def test_held_time_counts_for_what_was_started_last(
    pair: tuple[GuestLink, Peer, SocketChannel], eventually: Eventually
) -> None:
    link, peer, _ = pair
    link.execute(request(), b"1", ())
    peer.say(Kind.HELD)
    link.hold(5.0)
    eventually(lambda: link.held_s > 0.05)
    peer.say(Kind.EXITED, id="i:1/python", **ENDED)
    link.read(1.0)
    link.resume()
    link.execute(request("i:2"), b"1", ())

    assert (link.held_s, link.lease) == (0.0, "i:2")


def test_a_job_that_fits_no_frame_leaves_the_link_as_it_was(pair: tuple[GuestLink, Peer, SocketChannel]) -> None:
    link, peer, _ = pair
    with pytest.raises(FrameError):
        link.execute(request(argv=("x" * (1 << 20),)), b"1", ())
    link.execute(request("i:2"), b"1", ())

    assert [kind for kind, _ in peer.told()].count(Kind.EXEC) == 1


@pytest.mark.parametrize(
    "frame",
    [
        pack(Kind.STDOUT, b"out of nowhere"),
        pack_json(Kind.EXITED, {"id": "i:1/python", **ENDED}),
        pack(99, b"{}"),
        b"\xff\xff\xff\xff",
    ],
    ids=["output", "exited", "unknown", "length"],
)
def test_what_an_idle_agent_may_not_say_breaks_the_link(
    pair: tuple[GuestLink, Peer, SocketChannel], frame: bytes
) -> None:
    link, peer, _ = pair
    peer.socket.sendall(frame)

    with pytest.raises(GuestProtocolError):
        link.read(1.0)
    assert link.is_broken


def test_an_agent_that_ends_another_job_breaks_the_link(pair: tuple[GuestLink, Peer, SocketChannel]) -> None:
    link, peer, _ = pair
    link.execute(request(), b"1", ())
    peer.say(Kind.EXITED, id="i:9/python", **ENDED)

    with pytest.raises(GuestProtocolError):
        link.read(1.0)
    assert link.is_broken


def test_a_closed_channel_is_a_dead_sandbox(pair: tuple[GuestLink, Peer, SocketChannel]) -> None:
    link, peer, _ = pair
    peer.socket.close()

    with pytest.raises(SandboxDied):
        link.read(1.0)
    assert link.is_broken
