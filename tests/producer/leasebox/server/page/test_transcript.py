"""Is a job's output put together in order, and never more of it than a page can hold?"""

import pytest

from leasebox.contract import events
from leasebox.contract.result import Outcome, Result, Truncated
from leasebox.server.page.transcript import Piece, of_result, pieces


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
