"""How do calls reach Redis? Texts, unknown scripts, many at once, asyncio, a Redis that is full."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest
import redis.asyncio
from redis.exceptions import OutOfMemoryError, ResponseError

from leasebox.contract.scripts import AsyncRunner, Call, Runner, answers, client, client_answers
from leasebox.contract.scripts.call import text

FOLDER = files("leasebox.contract.scripts")
PARTS = {"prelude", "ending", "output", "quota", "outbox", "shown"}
SCRIPTS = sorted(path.name.removesuffix(".lua") for path in FOLDER.iterdir() if path.name.endswith(".lua"))
LOOKS = {"why", "overview", "census"}
MAY_EXCEED = set(SCRIPTS) - PARTS - LOOKS - {"submit", "open", "open_batch", "feed", "emit", "webhook_test"}


@pytest.mark.parametrize("script", sorted(set(SCRIPTS) - PARTS))
def test_a_script_opens_with_its_keys_arguments_answer_and_caller(script):
    source = (FOLDER / f"{script}.lua").read_text()

    assert [word for word in ("KEYS", "ARGV", "answer", "caller") if not re.search(rf"^-- {word} ", source, re.M)] == []
    flags = " flags=no-writes" if script in LOOKS else " flags=allow-oom" if script in MAY_EXCEED else ""
    assert text(script).startswith(f"#!lua{flags}\n")


@pytest.mark.parametrize("script", SCRIPTS)
def test_no_key_text_stands_in_lua(script):
    source = (FOLDER / f"{script}.lua").read_text()
    code = re.sub(r"--[^\n]*", "", source)

    assert not re.search(r"'(lb|leasebox|celery)|':(?!')\w", code)


def test_scripts_that_redis_forgot_are_loaded_again(desk):
    desk.redis.script_flush()

    records = [desk.record() for _ in range(3)]
    found = Runner(desk.redis).run_many([client.submit(desk.keys, record=record) for record in records])

    assert [answer.job for answer in found] == [record.job for record in records]
    desk.redis.script_flush()
    assert desk.cancel(records[0].job) == answers.Cancelled()


def test_one_call_that_fails_does_not_hide_the_others(desk):
    desk.redis.set(desk.keys.job("bad"), "wrong type")
    records = [desk.record("bad"), desk.record("good")]

    with pytest.raises(ResponseError, match="WRONGTYPE"):
        Runner(desk.redis).run_many([client.submit(desk.keys, record=record) for record in records])
    assert desk.job("good")["state"] == "queued"


async def test_the_asynchronous_runner_does_the_same(desk, redis_server):
    async with redis.asyncio.Redis(unix_socket_path=str(redis_server.socket)) as connection:
        runner = AsyncRunner(connection)
        desk.redis.script_flush()
        accepted = await runner.run(client.submit(desk.keys, record=desk.record()))
        assert isinstance(accepted, client_answers.Accepted)
        await connection.script_flush()
        calls = [client.cancel(desk.keys, job=job, tenant="acme") for job in (accepted.job, "none")]
        assert await runner.run_many(calls) == [answers.Cancelled(), answers.Gone()]


@pytest.mark.slow
def test_a_full_redis_takes_no_job_but_lets_jobs_end(desk, new_redis):
    server = new_redis()
    with server.connect() as connection:
        desk = type(desk)(connection, desk.keys.prefix)
        desk.register()
        running, queued = desk.new(session="s"), desk.new()
        work = desk.claim(running)
        desk.bind(work)
        desk.start(work)
        connection.config_set("maxmemory", 1)

        with pytest.raises((OutOfMemoryError, ResponseError)):
            desk.submit()
        assert desk.cancel(queued) == answers.Cancelled()
        assert desk.settle(work) == answers.Free("")
        assert desk.sweep("s", 1, evict_idle_after_s=0) == answers.Kill("box", "evicted")


def test_a_call_is_data(desk):
    call = client.cancel(desk.keys, job="j", tenant="acme")

    assert isinstance(call, Call)
    assert (call.script, call.keys, call.args[1:3]) == ("cancel", (desk.keys.job("j"),), ("j", "acme"))
