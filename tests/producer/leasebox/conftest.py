"""What do the tests of the client stand on? A client with a key prefix of its own, and a worker played by the test."""

import json
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from tests.producer.leasebox.served import served

from leasebox import Client
from leasebox.config import ClientSettings
from leasebox.contract import wire
from leasebox.contract.keys import Keys
from leasebox.contract.scripts import Runner, answers, node, worker

_NUMBERS = count(1)


class PlayedWorker:
    """Does to a job what a worker does, by the real scripts, step by step."""

    def __init__(self, redis: Any, keys: Keys) -> None:
        self.name = f"n{next(_NUMBERS)}"
        self.keys = keys
        self.run = Runner(redis).run
        self._seq: dict[str, int] = {}
        self.run(
            node.adopt(keys, node=self.name, incarnation="i", machine_id="m", has_proof=True, driver="process", slots=4)
        )

    def begin(self, job: str) -> answers.Work:
        """Claim, bind and start."""
        lease = f"i:{next(_NUMBERS)}"
        claimed = self.run(worker.acquire(self.keys, job=job, node=self.name, incarnation="i", lease=lease))
        assert isinstance(claimed, answers.Cold | answers.Leased), claimed
        if isinstance(claimed, answers.Cold):
            self.run(worker.bind(self.keys, job=job, lease=lease, node=self.name, sandbox='{"id":"s"}', why="lost"))
        started = self.run(worker.start(self.keys, job=job, lease=lease, deadline_s=30, frame="f", sandbox="s"))
        assert isinstance(started, answers.Go), started
        return claimed.work

    def write(self, work: answers.Work, *chunks: tuple[str, bytes]) -> None:
        """Publish output."""
        first = self._seq.get(work.job, worker.FIRST_SEQ)
        self._seq[work.job] = first + len(chunks)
        sent = [worker.Chunk(first + n, kind, data) for n, (kind, data) in enumerate(chunks)]
        self.run(worker.emit(self.keys, job=work.job, lease=work.lease, claims=work.claims, chunks=sent))

    def end(self, work: answers.Work, outcome: str = "ok", *, is_partial: bool = False, **fields: Any) -> None:
        """Settle with a Result of these fields."""
        body = {"job": work.job, "outcome": outcome, "ok": outcome == "ok", "exit_code": 0, **fields}
        text = json.dumps(body)
        told = json.dumps({"result": {**body, "stdout": ""}, "partial": True}) if is_partial else ""
        ending = worker.Ending(
            outcome,
            wire.meta_text(work.job, outcome, text, done_at=1.0),
            told.encode() if told else wire.finished_json(text),
            exit_code=body["exit_code"],
        )
        self.run(
            worker.settle(self.keys, job=work.job, lease=work.lease, end=ending, next_lease="i:0", may_continue=False)
        )


@pytest.fixture
def settings(redis_server: Any, prefix: str, tmp_path: Path) -> ClientSettings:
    """Settings of a client with a key prefix and a home of its own."""
    return ClientSettings(url=redis_server.url, prefix=prefix, home=tmp_path, _env_file=None)


@pytest.fixture
def client(settings: ClientSettings) -> Iterator[Client]:
    """A blocking client of Redis."""
    with Client(settings=settings) as made:
        yield made


@pytest.fixture(params=["redis", "http"])
def either_settings(request: Any, settings: ClientSettings) -> Iterator[ClientSettings]:
    """Settings of a client of Redis, then of one of an API over it."""
    if request.param == "redis":
        yield settings
        return
    with served(settings) as url:
        yield ClientSettings(url=url, prefix=settings.prefix, home=settings.home, _env_file=None)


@pytest.fixture
def played(redis: Any, prefix: str) -> PlayedWorker:
    """A worker whose steps the test takes."""
    return PlayedWorker(redis, Keys(prefix))
