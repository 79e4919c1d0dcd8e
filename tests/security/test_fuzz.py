"""Whatever an enemy sends (an agent's frames, a spec, a profile, a record) ends in our own error or in an answer."""

import json
import pickle
import struct
from collections.abc import Iterator
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kombu.exceptions import ContentDisallowed
from kombu.serialization import loads, prepare_accept_content

from leasebox.contract.errors import GuestProtocolError, InvalidSpec, SandboxDied
from leasebox.contract.result import Result
from leasebox.contract.spec import JobSpec, parse_spec
from leasebox_guest.frames import MAX_FRAME_BYTES, Kind, pack
from leasebox_worker.config import WorkerSettings
from leasebox_worker.drivers.base import ChannelClosed
from leasebox_worker.engine.carry_out import _spec_of
from leasebox_worker.engine.intake import Gate, Intake, Slots
from leasebox_worker.engine.outcome import Counted, name_ending
from leasebox_worker.guestlink.link import GuestLink
from leasebox_worker.guestlink.messages import Exited, Message, Output, Refused
from leasebox_worker.guestlink.orders import Exec
from leasebox_worker.policy.admit import admit
from leasebox_worker.policy.profiles import BUILT_IN, faults_of
from leasebox_worker.tasks import make_app

RUNNING = "n:1/python"
EXEC = Exec(RUNNING, "python", ("main.py",), 0, None, "/workspace", {}, 1.0, None, None, 1 << 20, True, 1.0)
ENDED = {
    "id": RUNNING, "code": 0, "signal": None, "limit": None, "cancelled": False, "wall_s": 0.1, "cpu_s": 0.1,
    "maxrss_bytes": 1, "clean": True, "error": None, "disk_bytes": 0, "disk_full": False,
}  # fmt: skip

numbers = st.one_of(
    st.integers(),
    st.integers(min_value=10**300, max_value=10**400),
    st.floats(),
    st.sampled_from([0, -1, 256, 1 << 62]),
)
texts = st.one_of(st.text(max_size=50), st.sampled_from(["", "\0", "\ud800", "../..", "a" * 5000, RUNNING]))
values = st.recursive(
    st.one_of(st.none(), st.booleans(), numbers, texts),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(texts, inner, max_size=4)),
    max_leaves=8,
)


def json_of(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=True).encode()


def mutated(base: dict[str, object]) -> st.SearchStrategy[dict[str, object]]:
    """The object with some fields replaced, left out, or added."""
    changes = st.dictionaries(st.one_of(st.sampled_from(sorted(base)), texts), values, max_size=3)
    gone = st.sets(st.sampled_from(sorted(base)), max_size=2)
    return st.builds(lambda more, less: {k: v for k, v in (base | more).items() if k not in less}, changes, gone)


frames = st.one_of(
    st.builds(pack, st.integers(0, 255), st.binary(max_size=200)),
    st.builds(lambda kind, value: pack(kind, json_of(value)), st.sampled_from(list(Kind)), values),
    st.builds(lambda fields: pack(Kind.EXITED, json_of(fields)), mutated(ENDED)),
    st.builds(lambda fields: pack(Kind.REFUSED, json_of(fields)), mutated({"id": RUNNING, "reason": "busy"})),
    st.builds(lambda n: pack(Kind.CREDIT, json_of({"n": n})), numbers),
    st.builds(lambda data: pack(Kind.STDOUT, data), st.binary(max_size=2000)),
    st.builds(lambda length, data: struct.pack(">I", length) + data, st.integers(0, 2**32 - 1), st.binary(max_size=50)),
    st.binary(max_size=50),
)


class Scripted:
    """A channel whose other end has said all that it will say."""

    def __init__(self, portions: list[bytes]) -> None:
        self._portions = iter(portions)
        self.crash_text = ""

    def send(self, data: bytes) -> None:
        """Nobody listens."""

    def receive(self, timeout_s: float | None) -> bytes:
        data = next(self._portions, None)
        if data is None:
            raise ChannelClosed("ended")
        return data

    def close(self) -> None:
        """Nothing is open."""


def cut(data: bytes, sizes: list[int]) -> Iterator[bytes]:
    """The bytes in portions of these sizes."""
    for size in sizes:
        if data:
            yield data[:size]
            data = data[size:]
    if data:
        yield data


@given(st.lists(frames, max_size=12), st.lists(st.integers(1, 60), max_size=20))
@settings(max_examples=400, deadline=None)
def test_an_agent_can_say_what_it_likes(said: list[bytes], sizes: list[int]) -> None:
    link = GuestLink(Scripted(list(cut(b"".join(said), sizes))))  # type: ignore[arg-type]
    link.execute(EXEC, b"", iter([b"x" * 1000]))
    said_bytes = sum(map(len, said))
    written = 0
    while not link.is_broken:
        for message in _heard(link):
            if isinstance(message, Output):
                written += len(message.data)
            elif isinstance(message, Exited):
                _check_ending(message)
                link.execute(EXEC, b"", ())
            elif isinstance(message, Refused):
                link.execute(EXEC, b"", ())

    assert written <= said_bytes


def _heard(link: GuestLink) -> list[Message]:
    """What the link makes of the next portion; it may refuse it by these two errors and no other."""
    try:
        return link.read(0.0)
    except (SandboxDied, GuestProtocolError):
        return []


def _check_ending(message: Exited) -> None:
    """It is about what runs, and whatever it claims can be written down as a Result."""
    assert message.id == RUNNING
    assert 0 <= message.wall_s < float("inf")
    ended = name_ending(message, Counted())
    assert Result.model_construct(outcome=ended.outcome, message=ended.message).model_dump_json(warnings=False)


@given(st.binary(min_size=1, max_size=100))
def test_a_frame_that_is_announced_and_never_ends_costs_no_more_than_one_frame(data: bytes) -> None:
    portions = [struct.pack(">I", MAX_FRAME_BYTES)] + [data * 600] * 40
    link = GuestLink(Scripted(portions))  # type: ignore[arg-type]
    link.execute(EXEC, b"", ())
    held = 0
    while not link.is_broken:
        _heard(link)
        held = max(held, len(link._decoder._buffer))

    assert held <= MAX_FRAME_BYTES + len(data) * 600


SPEC = {
    "code": "1", "command": ["a"], "entry": "a.py", "language": "python", "args": ["a"], "stdin": "x", "cwd": "a",
    "files": {"a": {"text": "x"}}, "env": {"A": "b"}, "secrets": ["A"], "session": "s", "profile": "default",
    "limits": {"timeout_s": 1.0, "memory_bytes": 1 << 20, "cpus": 1.0}, "network": ["example.com"], "retries": 1,
    "expires_in_s": 1.0, "idempotency_key": "k", "metadata": {"a": "b"}, "callback_url": "https://example.com/",
}  # fmt: skip


@given(mutated(SPEC), st.sets(st.sampled_from(["code", "command", "entry"]), min_size=1))
@settings(max_examples=400, deadline=None)
def test_a_spec_is_read_or_refused(spec: dict[str, object], without: set[str]) -> None:
    given_spec = {name: value for name, value in spec.items() if name not in without}
    try:
        read = parse_spec(given_spec)
        assert isinstance(read, JobSpec)
        grant = admit(read, BUILT_IN["default"], node_cpus=2.0)
    except InvalidSpec:
        grant = None
    if grant is not None:
        limits = grant.limits
        assert 0 < (limits.timeout_s or 0) <= BUILT_IN["default"].max_timeout_s
        assert 0 < (limits.memory_bytes or 0) <= BUILT_IN["default"].memory_bytes
        assert not grant.cwd.startswith(("/", ".."))


@given(st.one_of(st.binary(max_size=100), st.builds(json_of, values), st.builds(json_of, mutated(SPEC))))
@settings(max_examples=200, deadline=None)
def test_a_record_that_no_client_of_ours_wrote_is_refused(data: bytes) -> None:
    with suppress(InvalidSpec):
        assert isinstance(_spec_of(data), JobSpec)


@pytest.mark.parametrize(
    "data",
    [
        b"[" * 200_000, b'{"a":' * 100_000, b'{"code": "1", "code": 2}', b'{"code": "1", "limits": {"timeout_s": NaN}}',
        b'{"code": "1", "limits": {"timeout_s": 1e999}}', b'{"code": "1", "limits": {"memory_bytes": -1}}',
        b'{"code": "1", "limits": {"pids": ' + b"9" * 5000 + b"}}", b"\x80\x04\x95\x0b.", b'{"code": "\xff"}',
        b'{"code": "1", "profile": "../etc"}', b'{"code": "1", "session": "a/b"}', b'{"code": "1", "cwd": "../x"}',
        b'{"code": "1", "session": "a\\n"}', b'{"code": "1", "env": {"A=B": "x"}}',
        b'{"code": "1", "env": {"A": "\\u0000"}}',
        b'{"code": "1", "files": {"../x": {"text": ""}}}', b'{"code": "1", "files": {"a\\u0000": {"text": ""}}}',
        b'{"code": "1", "image": "evil"}', b'{"command": []}', b'{"code": "1", "metadata": {"a": {"b": 1}}}',
        b'{"code": "1", "args": ["' + b"x" * (10 << 20) + b'"]}',
    ],
    ids=lambda data: repr(bytes(data[:30])),
)  # fmt: skip
def test_a_hostile_record_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidSpec):
        _spec_of(data)


PROFILE = {
    "image": "leasebox/python", "languages": ["python"], "cpus": 1.0, "memory": "512MiB", "disk": "64MiB",
    "tmp": "16MiB", "pids": 64, "timeout": "30s", "max_timeout": "1h", "seccomp": "default", "network": [],
    "pool": 1, "preload": [], "secrets": [], "env_allow": [], "extends": "default",
}  # fmt: skip


def toml(value: object) -> str:
    """A value as TOML, as far as it has one."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(k)} = {toml(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value).replace("NaN", "nan").replace("Infinity", "inf") if value is not None else '""'


@given(st.one_of(st.text(max_size=100), st.builds(lambda table: "[profiles.p]\nx = 1\n[profiles.q]\n" + "\n".join(
    f"{json.dumps(name)} = {toml(value)}" for name, value in table.items()), mutated(PROFILE))))  # fmt: skip
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_file_of_profiles_is_served_or_its_faults_are_named(tmp_path, text: str) -> None:
    path = tmp_path / "p.toml"
    path.write_bytes(text.encode(errors="surrogatepass"))

    assert all(isinstance(fault, str) for fault in faults_of(path))


def test_a_pickle_on_the_queue_is_not_opened() -> None:
    app = make_app(WorkerSettings(url="redis://localhost"), Gate("n", Slots(total=1, interactive=0), Intake()))

    accepted = prepare_accept_content(app.conf.accept_content)
    with pytest.raises(ContentDisallowed):
        loads(pickle.dumps({"x": 1}), "application/x-python-serialize", "binary", accept=accepted)
