"""Is each kind of leftover found? Real ones where they can be made, texts of the kernel where not."""

import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.chaos import leftovers
from tests.chaos.leftovers import Key

from leasebox.contract.keys import Keys

KEYS = Keys()
NODES = frozenset({"n"})


@pytest.fixture
def home() -> Iterator[Path]:
    """A short path: a socket's has 107 bytes at most."""
    with tempfile.TemporaryDirectory(prefix="lbc-", dir="/tmp") as folder:
        yield Path(folder)


@pytest.mark.parametrize(
    "name",
    [
        KEYS.claims("n"),
        KEYS.waiting("leasebox.default"),
        KEYS.queued("leasebox.default"),
        KEYS.deferred(),
        KEYS.expiring(),
        KEYS.unbound(),
        KEYS.pending("default", "s"),
        KEYS.session("default", "s"),
        KEYS.job("j"),
        KEYS.events("j"),
        KEYS.meta("j"),
        KEYS.idem("default", "k"),
        KEYS.tenant_queued("default"),
        KEYS.tenant_running("default"),
        KEYS.tenant_sessions("default"),
        KEYS.parked("default"),
        KEYS.node_sessions("n"),
        KEYS.expiry("n"),
        KEYS.node("gone"),
        KEYS.control("gone"),
        KEYS.pool("gone", "i", "default"),
        KEYS.queue("default"),
        KEYS.queue("default", "n"),
        KEYS.batches(),
        "_kombu.binding.leasebox.node.gone.batch",
        "_kombu.binding_permanent.leasebox.node.gone.batch",
        "somebody:else",
    ],
)
def test_a_key_without_owner_and_without_ttl_is_told(name: str):
    assert leftovers.stray_keys([Key(name, "string", None, 1)], KEYS, live_nodes=NODES) == [f"key {name} (string of 1)"]


@pytest.mark.parametrize(
    "key",
    [
        Key(KEYS.job("j"), "hash", 86400, 9),
        Key(KEYS.events("j"), "stream", 600, 9),
        Key(KEYS.session("default", "s"), "hash", 86400, 9),
        Key(KEYS.node("n"), "hash", None, 9),
        Key(KEYS.control("n"), "stream", None, 9),
        Key(KEYS.pool("n", "i", "default"), "list", None, 2),
        Key(KEYS.nodes(), "zset", None, 1),
        Key(KEYS.profiles(), "hash", None, 4),
        Key(KEYS.installation(), "string", None, 1),
        Key(KEYS.ended(), "hash", None, 3),
        Key(KEYS.recent("default"), "zset", None, 200),
        Key("_kombu.binding.celery.pidbox", "set", None, 2),
        Key("_kombu.binding.leasebox.node.n.batch", "set", None, 1),
    ],
    ids=lambda key: key.name,
)
def test_a_key_that_goes_or_has_an_owner_is_not_told(key: Key):
    assert leftovers.stray_keys([key], KEYS, live_nodes=NODES) == []


def test_keys_are_read_with_their_kind_ttl_and_size(new_redis):
    with new_redis().connect() as client:
        client.rpush("l", "a", "b")
        client.set("s", "x", ex=100)

        assert leftovers.read_keys(client) == [Key("l", "list", None, 2), Key("s", "string", 100, 1)]


def test_a_sandbox_that_nobody_knows_is_told():
    assert leftovers.unowned_sandboxes(["a", "b"], ["b", "c"]) == ["sandbox a has no owner"]


def test_a_mount_in_the_folder_is_told(home: Path):
    places = [f"{home}/sandboxes/bubblewrap/lb-1/tmp", "/tmp", f"{home}2/x"]
    text = "".join(f"tmpfs {place} tmpfs rw 0 0\n" for place in places)

    assert leftovers.mounts_below(home, text) == [f"mount {home}/sandboxes/bubblewrap/lb-1/tmp"]


def test_a_real_mount_is_seen():
    assert leftovers.mounts_below(Path("/sys"))


def test_a_cgroup_of_a_known_sandbox_is_told_and_no_other(tmp_path: Path):
    (tmp_path / "memory/leasebox/lb-1").mkdir(parents=True)
    (tmp_path / "memory/leasebox/lb-2").mkdir()
    (tmp_path / "leasebox/lb-1").mkdir(parents=True)

    found = leftovers.cgroups_named({"lb-1"}, tmp_path)

    assert found == [f"cgroup {tmp_path}/leasebox/lb-1", f"cgroup {tmp_path}/memory/leasebox/lb-1"]


def test_a_state_folder_is_told(home: Path):
    (home / "sandboxes/bubblewrap/lb-1").mkdir(parents=True)

    assert leftovers.sandbox_folders(home) == [f"folder {home}/sandboxes/bubblewrap/lb-1"]


def test_a_socket_is_told_unless_it_is_known(home: Path):
    known, left = home / "s", home / "left"
    for path in (known, left):
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(path))
    os.mkfifo(home / "pipe")

    assert leftovers.sockets_below(home, but=[known]) == [f"socket {left}", f"socket {home}/pipe"]


def test_a_process_is_told_by_its_environment_unless_it_is_known(home: Path, eventually):
    command = [sys.executable, "-c", "input()"]
    child = subprocess.Popen(command, env={"LEASEBOX_HOME": str(home)}, stdin=subprocess.PIPE)
    try:
        found = eventually(lambda: leftovers.processes_of(home))

        assert found[0].startswith(f"process {child.pid} ")
        assert leftovers.processes_of(home, but=[child.pid]) == []
    finally:
        child.kill()
        child.communicate()


def test_a_clean_folder_has_no_leftovers(home: Path):
    assert leftovers.host_leftovers(home, {"lb-none"}, but_pids=[os.getpid()], but_sockets=[]) == []
