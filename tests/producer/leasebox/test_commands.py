"""What is a command of a session, and what is refused before it is queued?"""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from redis import Redis

from leasebox import AsyncClient, Client, errors
from leasebox.commands import argv_of, job_of
from leasebox.config import ClientSettings
from leasebox.contract.keys import Keys
from leasebox.contract.spec import Limits


@pytest.fixture
def client(either_settings: ClientSettings) -> Iterator[Client]:
    """A blocking client, of Redis and then of the API."""
    with Client(settings=either_settings) as made:
        yield made


def spec_of(client: Client, redis: Redis, job: str) -> dict[str, Any]:
    text = redis.hget(Keys(client.settings.prefix).job(job), "spec")
    assert isinstance(text, bytes)
    found: dict[str, Any] = json.loads(text)
    return {name: value for name, value in found.items() if name != "idempotency_key"}  # over HTTP one is made


@pytest.mark.parametrize(
    "line",
    ["ls | wc -l", "a && b", "server & curl x; kill %1", "echo '&'", 'echo "a &"', "echo \\&", "ls 2>&1", "it's"],
)
def test_a_text_is_a_line_for_bash(line: str) -> None:
    assert argv_of(line) == ["bash", "-c", line]


@pytest.mark.parametrize("line", ["sleep 9 &", "(server; rest) &  ", "nohup x > log 2>&1 &", "a; b &\n", "x && y &"])
def test_a_line_that_would_leave_a_process_in_the_background_is_refused(line: str) -> None:
    with pytest.raises(errors.InvalidSpec, match="background ends with its command") as told:
        argv_of(line)
    assert "leave the last & out" in str(told.value.hint)


def test_asking_for_the_background_by_name_is_refused_too() -> None:
    with pytest.raises(errors.InvalidSpec, match="background"):
        job_of("server", {"background": True}, None)


def test_a_list_is_a_program_and_its_arguments_whatever_they_hold() -> None:
    assert argv_of(("echo", "a b &")) == ["echo", "a b &"]


@pytest.mark.parametrize("limits", [{"pids": 9}, Limits(pids=9)])
def test_timeout_s_is_one_of_the_limits(limits: Any) -> None:
    assert job_of("ls", {}, 5.0, limits=limits)["limits"] == {"pids": 9, "timeout_s": 5.0}


def test_a_command_is_a_job_of_its_session(client: Client, redis: Redis) -> None:
    session = client.session("s", env={"A": "1"})
    handle = session.commands.submit(["make", "-j"], cwd="src", env={"B": "2"}, stdin="yes", timeout_s=9)

    assert spec_of(client, redis, handle.id) == {
        "command": ["make", "-j"], "cwd": "src", "env": {"A": "1", "B": "2"}, "limits": {"timeout_s": 9.0},
        "profile": "default", "session": "s", "stdin": "yes",
    }  # fmt: skip


def test_what_was_refused_is_not_queued(client: Client) -> None:
    session = client.session("s")
    for wrong in ("sleep 9 &", [], ["a\0b"]):
        with pytest.raises(errors.InvalidSpec):
            session.commands.run(wrong)

    assert client.jobs() == []


def test_run_waits_and_raises_when_asked(client: Client, played: Any) -> None:
    session, seen = client.session("s"), []
    played.end(played.begin(session.submit("1").id))

    def play(event: Any) -> None:
        seen.append(event.type)
        if event.type == "queued":
            played.end(played.begin(client.jobs()[0].id), "error", exit_code=3)

    with pytest.raises(errors.NonZeroExit):
        session.commands.run("exit 3", check=True, on_event=play)
    assert seen[-1] == "finished"


async def test_the_async_twin_queues_the_same(either_settings: ClientSettings, redis: Redis) -> None:
    async with AsyncClient(settings=either_settings) as client:
        session = await client.session("s")
        handle = await session.commands.submit("ls", timeout_s=9)
        with pytest.raises(errors.InvalidSpec):
            await session.commands.run("sleep 9 &")

    with Client(settings=either_settings) as found:
        spec = spec_of(found, redis, handle.id)
    assert (spec["command"], spec["limits"]) == (["bash", "-c", "ls"], {"timeout_s": 9.0})
