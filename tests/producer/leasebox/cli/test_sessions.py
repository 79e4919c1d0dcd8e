"""Do the verbs about sessions, nodes, queues and a job's standing say what a person needs?"""

import json
import subprocess
import sys
from typing import Any

import pytest
from redis import Redis

from leasebox import Client
from leasebox.cli.session_view import size_text, why
from leasebox.config import ClientSettings
from leasebox.contract.keys import Keys
from leasebox.contract.result import SessionInfo
from leasebox.contract.scripts import worker

pytestmark = pytest.mark.slow
TIMES = {"created_at": 1, "used_at": 1, "idle_timeout_s": 1800, "max_age_s": 86400}


class Shell:
    """Types `leasebox ...`."""

    def __init__(self, settings: ClientSettings) -> None:
        self.env = {
            "PATH": "/usr/bin:/bin",
            "LEASEBOX_URL": str(settings.url),
            "LEASEBOX_PREFIX": settings.prefix,
            "LEASEBOX_HOME": str(settings.home),
        }

    def open(self, *words: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-m", "leasebox.cli", *words],
            env=self.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def __call__(self, *words: str) -> "subprocess.CompletedProcess[str]":
        opened = self.open(*words)
        out, err = opened.communicate(timeout=30)
        return subprocess.CompletedProcess(words, opened.returncode, out, err)


@pytest.fixture
def shell(settings: ClientSettings) -> Shell:
    """A shell whose `leasebox` talks to the test's Redis."""
    return Shell(settings)


def test_a_session_is_made_listed_touched_watched_and_closed(shell: Shell, client: Client) -> None:
    made = shell("sessions", "create", "v-1", "--idle-timeout", "5m", "--max-age", "1h", "--profile", "lightweight")
    assert (made.stdout, made.returncode) == ("v-1\n", 0)
    info = client.session("v-1").info()
    assert (info.idle_timeout_s, info.max_age_s, info.profile) == (300, 3600, "lightweight")

    assert shell("sessions", "list").stdout.startswith("v-1\tnew\tlightweight\t\t0\t0\t")
    assert json.loads(shell("sessions", "list", "--json").stdout)[0]["name"] == "v-1"
    assert json.loads(shell("sessions", "touch", "v-1", "--json").stdout)["used_at"] > info.used_at
    watching = shell.open("sessions", "show", "v-1", "--watch")
    assert watching.stdout is not None
    assert "new, 0 pending, 0 run" in watching.stdout.readline()

    closed = shell("sessions", "close", "v-1")

    assert "It was closed." in closed.stdout
    rest, _ = watching.communicate(timeout=20)
    assert "closed, 0 pending, 0 run. It was closed." in rest
    assert watching.returncode == 0
    assert "idle timeout    5 minutes" in shell("sessions", "show", "v-1").stdout


@pytest.mark.parametrize(
    ("size", "told"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1 KiB"),
        (35_756_441, "34.1 MiB"),
        (1020 << 20, "1020 MiB"),
        (3 << 40, "3 TiB"),
    ],
)
def test_a_size_is_told_in_its_greatest_unit(size: int, told: str) -> None:
    assert size_text(size) == told


def test_the_short_forms_make_and_end_a_session(shell: Shell, client: Client) -> None:
    name = shell("create").stdout.strip()

    assert client.session(name, must_exist=True).info().state == "new"
    assert json.loads(shell("destroy", name, "--json").stdout)["close_reason"] == "closed"


@pytest.mark.parametrize(
    ("words", "status", "told"),
    [
        (("sessions", "show", "never"), 1, "no session never"),
        (("destroy", "never"), 1, "no session never"),
        (("sessions", "touch", "never"), 1, "no session never"),
        (("sessions", "show", "a b"), 125, "is no name"),
        (("create", "x", "--idle-timeout", "8d"), 125, "idle_timeout_s: at most 1 day is allowed here"),
        (("create", "x", "--max-age", "soon"), 2, "--max-age: not a duration"),
        (("create", "x", "--idle-timeout", "nan"), 2, "--idle-timeout: not a duration"),
    ],
)
def test_what_is_wrong_about_a_session_is_one_sentence(shell: Shell, words: tuple[str, ...], status: int, told: str):
    done = shell(*words)

    assert done.returncode == status
    assert told in done.stderr
    assert len(done.stderr.splitlines()) == (1 if status != 2 else 4)


def test_status_says_behind_which_job_a_job_waits(shell: Shell, client: Client, played: Any) -> None:
    first, second = (client.submit(str(n), session="s") for n in range(2))
    played.begin(first.id)

    shown = shell("status", second.id)

    assert f"It waits in session s behind job {first.id}, which node {played.name} has run for" in shown.stdout
    assert json.loads(shell("status", second.id, "--json").stdout)["position"] == 1


def test_logs_say_which_attempt_was_given_up_and_why(shell: Shell, client: Client, played: Any) -> None:
    handle = client.submit("1", retries=1, session="s")
    work = played.begin(handle.id)
    played.run(worker.give_up(played.keys, job=work.job, lease=work.lease, why="sandbox_died", backoff_s=(0,)))
    played.end(played.begin(handle.id))

    told = shell("logs", handle.id).stderr

    assert "attempt 1 was given up, trying again. The job's sandbox died under it." in told
    assert "the session starts anew, its files are gone: it lost its sandbox: its node died or was restarted" in told


def test_nodes_tell_their_state_and_queues_their_bound(shell: Shell, redis: Redis, client: Client, played: Any) -> None:
    redis.hset(Keys(client.settings.prefix).settings(), "queue_max_jobs", 7)
    client.submit("1")

    (node,) = shell("nodes").stdout.splitlines()
    assert node.split("\t")[:4] == [played.name, "up", "process", "4"]
    assert json.loads(shell("nodes", "--json").stdout)[0]["state"] == "up"
    redis.hset(Keys(client.settings.prefix).node(played.name), "seen_at", 1)
    assert shell("nodes").stdout.split("\t")[1] == "silent"
    # Queues are the server's, whose other tests may leave wake-ups; our own keys have the prefix.
    name, queued, runnable, _, bound = shell("queues").stdout.splitlines()[1].split("\t")
    assert (name, queued, runnable, bound) == ("leasebox.default", "1", "1", "7")


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"state": "idle"}, None),
        ({"state": "closed", "close_reason": "idle"}, "It ended after 30 minutes without activity."),
        ({"state": "closed", "close_reason": "max_age"}, "It ended at its greatest age of 1 day."),
        ({"state": "closing", "close_reason": "closed"}, "It is being closed; it ends when its job has ended."),
        (
            {"state": "new", "lost_reason": "lost"},
            "It lost its sandbox: its node died or was restarted. The next job starts with empty files.",
        ),
    ],
)
def test_an_end_is_told_in_a_sentence(fields: dict[str, str], told: str | None) -> None:
    session = SessionInfo.model_validate({"name": "s", "profile": "default", **TIMES, **fields})

    assert why(session) == told
