"""Is a job's output put together in order, and never more of it than a page can hold?"""

from dataclasses import dataclass, field
from typing import Any

import pytest

from leasebox.config import ApiSettings, ClientSettings
from leasebox.contract import events
from leasebox.contract.result import Outcome, Result, Truncated
from leasebox.server.page.transcript import Piece, of_result, pieces, transcript
from leasebox.server.service import Caller, Desk, Service


def out(text: str) -> events.Stdout:
    return events.Stdout("1-1", 0, text.encode(), text)


def err(text: str) -> events.Stderr:
    return events.Stderr("1-1", 0, text.encode(), text)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ([], []),
        ([out("a"), out("b"), err("c"), out("d")], [Piece("out", "ab"), Piece("err", "c"), Piece("out", "d")]),
        ([events.Queued("0-1", 0, "q", 0), events.Started("0-2", 0, "n", "s", 1)], [Piece("note", "started on n")]),
        (
            [events.Retried("1-1", 0, 1, "lost"), events.Started("1-2", 0, "n", "s", 2)],
            [Piece("note", "given up and tried again: lost"), Piece("note", "started on n, attempt 2")],
        ),
        ([events.SessionRestarted("1-1", 0, "oom")], [Piece("note", "the session began anew: oom")]),
        (
            [events.Display("1-1", 0, {"image/png": "aGk=", "text/plain": "x"}), events.Input("1-2", 0, "name? ")],
            [Piece("note", "displayed image/png, text/plain"), Piece("note", "asks for input: name? ")],
        ),
    ],
)
def test_events_become_pieces_in_their_order(found: list[events.Event], expected: list[Piece]):
    assert pieces(found) == expected


def test_a_result_gives_what_it_keeps():
    result = Result(job="j", outcome=Outcome.OK, stdout="o", truncated=Truncated(stdout=True))

    found = of_result(result)

    assert (found.pieces, found.cursor, found.is_cut) == ([Piece("out", "o")], None, True)


@dataclass(frozen=True)
class Counting(Desk):
    """A desk that notes how often it was asked."""

    asked: list[object] = field(default_factory=list)

    async def run(self, flow: Any) -> Any:
        self.asked.append(flow)
        return await super().run(flow)


async def test_of_very_much_output_no_more_is_read_than_is_shown(settings: ClientSettings, client: Any, played: Any):
    job = client.submit("1").id
    work = played.begin(job)
    for _ in range(130):
        played.write(work, ("stdout", b"x" * 31000))
    service = Service(ApiSettings(url=settings.url, prefix=settings.prefix, home=settings.home, _env_file=None))
    async with service.running():
        desk = Counting(service, Caller("default", None), service.backend("default"))

        found = await transcript(desk, job, Result(job=job, outcome=Outcome.OK, stdout="kept"))

    assert (found.pieces, len(desk.asked)) == ([Piece("out", "kept")], 1)
