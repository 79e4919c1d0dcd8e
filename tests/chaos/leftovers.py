"""What is left of a round that should not be? On the host, in the engine, in Redis; each place has its own question."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import redis as redis_py

from leasebox.contract.keys import Keys

CGROUPS = Path("/sys/fs/cgroup")
PROC = Path("/proc")

_OF_INSTALLATION = re.compile(
    r":(installation|settings|profiles|tenants|nodes|ended|tenant:[^:]+:recent|audit|audit:head)$"
)
_OF_NODE = re.compile(r":node:[a-z0-9-]+(:control|:sessions|:expiry|:pools|:pool:.*)?$")
_OF_CELERY = re.compile(r"^(_kombu\.binding.*|.*celery\.pidbox|celeryev\..*|unacked_mutex)$")
"""Kombu's own: bindings by name, and the mailboxes of live workers."""
_BINDING_OF_NODE = re.compile(r"^_kombu\.binding(?:_permanent)?\.leasebox\.node\.([a-z0-9-]+)\.")


@dataclass(frozen=True)
class Key:
    """One key of Redis; `ttl_s` None: it stays for ever."""

    name: str
    kind: str
    ttl_s: int | None
    size: int


def read_keys(client: redis_py.Redis, *, but: Iterable[str] = ()) -> list[Key]:
    """Every key of a server that nobody else uses."""
    names = sorted(name for name in client.scan_iter(count=1000) if name.decode() not in set(but))
    found = []
    for name in names:
        ttl_s = int(client.ttl(name))
        kind = client.type(name).decode()
        found.append(Key(name.decode(), kind, None if ttl_s == -1 else ttl_s, _size(client, name, kind)))
    return found


def stray_keys(found: Iterable[Key], keys: Keys, *, live_nodes: frozenset[str]) -> list[str]:
    """Keys without an owner and without a TTL, when every job has ended and every session is closed.

    So claims, waiting lines, what counts against quotas, and queues are not there at all: an empty set has no key.
    """
    return [f"key {key.name} ({key.kind} of {key.size})" for key in found if not _is_owned(key, keys, live_nodes)]


def _is_owned(key: Key, keys: Keys, live_nodes: frozenset[str]) -> bool:
    if key.ttl_s is not None:
        return True
    if bound := _BINDING_OF_NODE.match(key.name):
        return bound[1] in live_nodes
    if _OF_CELERY.match(key.name):
        return True
    if not key.name.startswith(f"{keys.prefix}:"):
        return False
    if _OF_INSTALLATION.search(key.name):
        return True
    if _OF_NODE.search(key.name):
        return key.name.split(":")[2] in live_nodes and not key.name.endswith((":sessions", ":expiry"))
    return False


def _size(client: redis_py.Redis, name: bytes, kind: str) -> int:
    sizes = {"list": client.llen, "set": client.scard, "zset": client.zcard, "hash": client.hlen, "stream": client.xlen}
    return int(sizes[kind](name)) if kind in sizes else 1


def unowned_sandboxes(existing: Iterable[str], owned: Iterable[str]) -> list[str]:
    """Sandboxes that no session, no pool and no claim knows."""
    return [f"sandbox {name} has no owner" for name in sorted(set(existing) - set(owned))]


def mounts_below(home: Path, text: str | None = None) -> list[str]:
    """Mounts whose place is in the folder; `text` as /proc/mounts has it."""
    text = (PROC / "mounts").read_text() if text is None else text
    return [f"mount {line.split()[1]}" for line in text.splitlines() if line.split()[1].startswith(f"{home}/")]


def cgroups_named(names: Iterable[str], root: Path = CGROUPS) -> list[str]:
    """Groups of sandboxes by name, in every hierarchy."""
    folders = {path for pattern in ("*/leasebox/*", "leasebox/*") for path in root.glob(pattern) if path.is_dir()}
    wanted = set(names)
    return [f"cgroup {path}" for path in sorted(folders) if path.name in wanted]


def sandbox_folders(home: Path) -> list[str]:
    """State folders of sandboxes."""
    return [f"folder {path}" for path in sorted((home / "sandboxes").glob("*/*"))]


def sockets_below(home: Path, *, but: Iterable[Path] = ()) -> list[str]:
    """Unix sockets and pipes that have a name."""
    kept = set(but)
    found = [path for path in sorted(home.rglob("*")) if (path.is_socket() or path.is_fifo()) and path not in kept]
    return [f"socket {path}" for path in found]


def processes_of(home: Path, *, but: Iterable[int] = ()) -> list[str]:
    """Processes that name the folder in their command or their environment: workers, bwraps, what they started."""
    kept, sign = set(but), str(home).encode()
    return [f"process {pid} {command}" for pid, command in _naming(sign) if pid not in kept]


def _naming(sign: bytes) -> Iterator[tuple[int, str]]:
    for folder in PROC.glob("[0-9]*"):
        try:
            command, environment = (folder / "cmdline").read_bytes(), (folder / "environ").read_bytes()
        except OSError:
            continue
        if sign in command or sign in environment:
            yield int(folder.name), command.replace(b"\0", b" ").decode(errors="replace")[:160]


def host_leftovers(
    home: Path, names: Iterable[str], *, but_pids: Iterable[int], but_sockets: Iterable[Path]
) -> list[str]:
    """Everything on this host that workers should have taken with them."""
    return [
        *sandbox_folders(home),
        *mounts_below(home),
        *cgroups_named(names),
        *sockets_below(home, but=but_sockets),
        *processes_of(home, but=but_pids),
    ]
