"""Does doctor fail over a Redis that would lose jobs, and does what it says mend it?"""

import shlex
from dataclasses import replace
from typing import Any

import pytest
from tests.producer.leasebox.served import served

from leasebox import Client
from leasebox.cli import doctor
from leasebox.cli.check import Check
from leasebox.config import ClientSettings


def checks_of(settings: ClientSettings) -> dict[str, Check]:
    assert settings.url is not None
    return {check.name: check for check in doctor.redis_checks(settings, settings.url)}


def test_what_doctor_says_of_a_redis_mends_it(settings: ClientSettings, new_redis: Any) -> None:
    server = new_redis()
    settings = settings.model_copy(update={"url": server.url})
    with server.connect() as connection:
        connection.config_set("appendonly", "no")
        connection.config_set("appendfsync", "no")
        connection.config_set("maxmemory-policy", "allkeys-lru")
        first = {name for name, check in checks_of(settings).items() if not check.ok}
        for name in ("redis persistence", "redis sync", "redis eviction"):
            check = checks_of(settings)[name]
            assert not check.ok, name
            # The rest of the line writes the change to the server's file, which this one does not have.
            program, option, path, *command = shlex.split(str(check.hint).partition(" && ")[0])
            assert (program, option, path) == ("redis-cli", "-s", str(server.socket))
            connection.execute_command(*command)

    assert first - {"redis latency"} == {"redis persistence", "redis eviction", "redis memory", "workers"}
    assert {n for n, check in checks_of(settings).items() if not check.ok} - {"redis latency"} == {
        "redis memory",
        "workers",
    }


def test_a_user_that_may_not_look_at_the_server_is_told_so(settings: ClientSettings, new_redis: Any) -> None:
    server = new_redis()
    with server.connect() as connection:
        connection.execute_command("ACL", "SETUSER", "app", "on", ">secret", "~*", "&*", "+@all", "-info", "-config")
    url = f"redis+socket://app:secret@{server.socket}"

    found = checks_of(settings.model_copy(update={"url": url}))

    assert found["redis"].ok
    assert (found["redis settings"].ok, found["redis settings"].required) == (False, False)
    assert "secret" not in " ".join(f"{check.detail} {check.hint}" for check in found.values())
    assert "workers" in found


def test_queues_and_nodes_are_looked_at_over_an_api_too(settings: ClientSettings, client: Client, played: Any) -> None:
    client.submit("1")
    with served(settings) as url:
        found = {check.name: check for check in doctor.api_checks(settings.model_copy(update={"url": url}))}

    assert found["api"].ok
    assert found["workers"].detail == "1 up, 0 of 4 slots busy, 1 queued"
    assert found["queue leasebox.default"].detail == "1 queued, runnable lines: 1"


@pytest.mark.parametrize(("url", "is_required"), [(None, True), ("redis://127.0.0.1:1/0", False)])
def test_only_a_host_of_its_own_stack_needs_a_driver(
    monkeypatch: pytest.MonkeyPatch, settings: ClientSettings, url: str | None, is_required: bool
) -> None:
    lacks = Check("driver", False, True, "auto: none can be used here", "apt-get install docker.io")
    monkeypatch.setattr(doctor, "load", lambda: settings.model_copy(update={"url": url}))
    monkeypatch.setattr(doctor, "worker_checks", lambda *, is_embedded: [lacks] if is_embedded is is_required else [])

    assert replace(lacks, required=is_required) in list(doctor.all_checks())
