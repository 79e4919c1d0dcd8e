"""Live standard input, as an application sees it: written while a job waits or runs, on a live system, by each door."""

import asyncio
import hashlib
import json
import threading
import uuid

import httpx2
import pytest
from tests.acceptance.conftest import Live
from tests.conftest import Eventually

from leasebox.aio import AsyncClient
from leasebox.client import Client, JobHandle
from leasebox.contract.errors import InvalidSpec, UnknownJob, WrongState
from leasebox.contract.result import Outcome, State

WAIT_S = 60.0
ECHO = "import sys\nfor line in sys.stdin: print(line.strip().upper(), flush=True)\nprint('end')"
DIGEST = "import hashlib, sys; data = sys.stdin.buffer.read(); print(len(data), hashlib.sha256(data).hexdigest())"


def said(data: bytes) -> str:
    return f"{len(data)} {hashlib.sha256(data).hexdigest()}\n"


def running(handle: JobHandle) -> None:
    next(event for event in handle.events(timeout_s=WAIT_S) if event.type == "started")


def test_a_running_program_answers_line_by_line(either_client: Client) -> None:
    handle = either_client.submit(ECHO, stdin_open=True)
    events = handle.events(timeout_s=WAIT_S)
    answers = []
    for word in ("one", "two"):
        handle.write_stdin(f"{word}\n")
        answers.append(next(event.text for event in events if event.type == "stdout"))
    handle.close_stdin()

    assert answers == ["ONE\n", "TWO\n"]
    assert (handle.result(timeout_s=WAIT_S).outcome, handle.result().stdout) == (Outcome.OK, "ONE\nTWO\nend\n")


def test_a_cell_asks_and_is_answered(either_client: Client) -> None:
    session = f"asks-{uuid.uuid4().hex[:8]}"
    handle = either_client.submit(
        "a = input('name? '); b = input('age? '); (a, int(b))", session=session, stateful=True, stdin_open=True
    )
    answers = iter(["Ada\n", "36\n"])
    prompts = []
    for event in handle.events(timeout_s=WAIT_S):
        if event.type == "input":
            prompts.append(event.prompt)
            handle.write_stdin(next(answers))

    assert prompts == ["name? ", "age? "]
    assert handle.result().results == [{"text/plain": "('Ada', 36)"}]


def test_what_is_written_before_the_job_starts_is_there_when_it_does(client: Client, live: Live) -> None:
    session = f"waits-{uuid.uuid4().hex[:8]}"
    first = client.submit("input()", session=session, stdin_open=True)
    second = client.submit(DIGEST, session=session, stdin_open=True)
    data = bytes(range(256)) * 3000
    second.write_stdin(data)
    second.close_stdin()

    assert second.status().state is State.QUEUED
    first.write_stdin("go\n")
    assert second.result(timeout_s=WAIT_S).stdout == said(data)


def test_many_megabytes_arrive_whole_and_in_order(either_client: Client) -> None:
    data = b"".join(hashlib.sha256(bytes([n % 251, n // 251])).digest() * 2048 for n in range(96))
    handle = either_client.submit(DIGEST, stdin_open=True)
    handle.write_stdin(data)
    handle.close_stdin()

    assert handle.result(timeout_s=WAIT_S).stdout == said(data)


def test_writers_that_share_a_handle_do_not_mix_what_they_write(client: Client) -> None:
    handle = client.submit("import sys\nprint(sorted({len(set(b)) for b in sys.stdin}))", stdin_open=True)
    lines = [(letter * 200_000 + "\n") for letter in "abcd"]
    writers = [threading.Thread(target=handle.write_stdin, args=(line,)) for line in lines]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(WAIT_S)
    handle.close_stdin()

    assert handle.result(timeout_s=WAIT_S).stdout == "[2]\n"


def test_a_writer_waits_for_a_program_that_does_not_read_and_is_told_when_it_ends(
    client: Client, live: Live, eventually: Eventually
) -> None:
    handle = client.submit("import time; print('up', flush=True); time.sleep(600)", stdin_open=True)
    next(event for event in handle.events(timeout_s=WAIT_S) if event.type == "stdout")
    errors: list[Exception] = []

    def write() -> None:
        try:
            handle.write_stdin(bytes(4 << 20))
        except WrongState as exc:
            errors.append(exc)

    writer = threading.Thread(target=write)
    writer.start()
    redis = live.redis()
    stream = f"lb:job:{handle.id}:stdin"
    eventually(lambda: 0 < (redis.memory_usage(stream) or 0) < 2 << 20 and redis.xlen(stream) >= 15, within_s=WAIT_S)
    assert writer.is_alive()
    handle.cancel()
    writer.join(WAIT_S)

    assert "has ended" in str(errors[0])
    assert handle.result(timeout_s=WAIT_S).outcome is Outcome.CANCELLED


def test_input_after_the_end_is_a_wrong_state_and_a_late_close_is_fine(either_client: Client) -> None:
    handle = either_client.submit("print(input())", stdin_open=True)
    handle.write_stdin("a\n")
    handle.result(timeout_s=WAIT_S)

    with pytest.raises(WrongState, match="has ended"):
        handle.write_stdin("b\n")
    handle.close_stdin()


def test_input_after_its_end_is_a_wrong_state(either_client: Client) -> None:
    handle = either_client.submit("import time; time.sleep(60)", stdin_open=True)
    handle.close_stdin()
    handle.close_stdin()

    with pytest.raises(WrongState, match="was closed"):
        handle.write_stdin("b\n")
    handle.cancel(wait_s=WAIT_S)


def test_a_job_that_takes_no_live_input_says_how_to_have_one_that_does(either_client: Client) -> None:
    handle = either_client.submit("import time; time.sleep(60)")

    with pytest.raises(WrongState, match="stdin_open=True"):
        handle.write_stdin("b\n")
    with pytest.raises(WrongState):
        handle.close_stdin()
    handle.cancel(wait_s=WAIT_S)


def test_no_job_takes_no_input(either_client: Client) -> None:
    with pytest.raises(UnknownJob):
        either_client.job("0190a1b2-0000-7000-8000-000000000000").write_stdin("x")


@pytest.mark.parametrize("more", [{"retries": 1}, {"stdin": "x"}])
def test_live_input_goes_with_neither_retries_nor_a_whole_input(either_client: Client, more: dict[str, object]) -> None:
    with pytest.raises(InvalidSpec, match="stdin_open"):
        either_client.submit("1", stdin_open=True, **more)


def test_what_a_cell_did_not_read_is_no_input_of_the_next(client: Client) -> None:
    session = f"rest-{uuid.uuid4().hex[:8]}"
    first = client.submit("input()", session=session, stateful=True, stdin_open=True)
    first.write_stdin("a\nunread\n")
    assert first.result(timeout_s=WAIT_S).results == [{"text/plain": "'a'"}]

    second = client.submit("input()", session=session, stateful=True, stdin_open=True)
    second.write_stdin("b\n")
    assert second.result(timeout_s=WAIT_S).results == [{"text/plain": "'b'"}]


def test_the_asynchronous_client_does_the_same(live: Live, api: str) -> None:
    async def talk(url: str) -> tuple[list[str], str]:
        async with AsyncClient(url) as client:
            handle = await client.submit(ECHO, stdin_open=True)
            heard = []
            await handle.write_stdin("one\n")
            async for event in handle.events(timeout_s=WAIT_S):
                if event.type == "stdout":
                    heard.append(event.text)
                    await handle.close_stdin()
            with pytest.raises(WrongState):
                await handle.write_stdin("late")
            return heard, (await handle.result()).stdout

    for url in (live.url, api):
        heard, stdout = asyncio.run(talk(url))
        assert (heard[0], stdout) == ("ONE\n", "ONE\nend\n")


def test_over_a_websocket_a_program_is_answered_and_its_input_ended(api: str) -> None:
    with httpx2.Client(base_url=api, timeout=WAIT_S) as http:
        job = http.post("/v1/jobs", json={"code": ECHO, "stdin_open": True}).json()["id"]
        with http.websocket(f"/v1/jobs/{job}/ws") as socket:
            heard: list[str] = []
            socket.send_text('{"type": "stdin", "text": "one\\n"}')
            while "finished" not in heard:
                event = json.loads(socket.receive_text())
                heard.append(event["text"] if event["type"] == "stdout" else event["type"])
                if heard[-1] == "ONE\n":
                    socket.send_text('{"type": "eof"}')

    assert heard == ["queued", "started", "ONE\n", "end\n", "finished"]
