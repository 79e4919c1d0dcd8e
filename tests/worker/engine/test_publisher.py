"""How output is cut into chunks."""

import time

from leasebox.contract.scripts.worker import Chunk
from leasebox_worker.engine.publisher import CHUNK_BYTES, WINDOW_S, Publisher
from leasebox_worker.guestlink.messages import Output


def test_the_first_bytes_go_out_at_once_and_the_next_wait_for_their_window() -> None:
    emitted: list[list[Chunk]] = []
    publisher = Publisher(emitted.append, kept_bytes=100)

    publisher.add(Output("stdout", b"a"))
    publisher.flush_if_due()
    publisher.add(Output("stdout", b"b"))
    publisher.flush_if_due()

    assert emitted == [[Chunk(seq=16, type="stdout", data=b"a")]]
    assert publisher.take() == [Chunk(seq=17, type="stdout", data=b"b")]


def test_streams_keep_their_order_and_chunks_their_bound() -> None:
    publisher = Publisher(lambda _: None, kept_bytes=10)
    publisher.add(Output("stdout", b"a" * (CHUNK_BYTES + 1)))
    publisher.add(Output("stderr", b"e"))
    publisher.add(Output("stdout", b"b"))

    chunks = publisher.take()

    assert [(chunk.type, len(chunk.data)) for chunk in chunks] == [
        ("stdout", CHUNK_BYTES),
        ("stdout", 1),
        ("stderr", 1),
        ("stdout", 1),
    ]
    assert [chunk.seq for chunk in chunks] == [16, 17, 18, 19]


def test_other_events_stand_between_the_output_and_are_never_cut() -> None:
    publisher = Publisher(lambda _: None, kept_bytes=10)
    publisher.add(Output("stdout", b"a"))
    publisher.add_event("display", b"x" * (CHUNK_BYTES * 3))
    publisher.add_event("display", b"y")
    publisher.add(Output("stdout", b"b"))

    assert [(chunk.type, len(chunk.data)) for chunk in publisher.take()] == [
        ("stdout", 1),
        ("display", CHUNK_BYTES * 3),
        ("display", 1),
        ("stdout", 1),
    ]
    assert publisher.total_bytes == 2


def test_nothing_waits_without_output() -> None:
    publisher = Publisher(lambda _: None, kept_bytes=10)

    assert publisher.wait_s(0.0, 1.0) == 1.0


def test_a_secret_is_in_nothing_that_is_kept_or_sent() -> None:
    emitted: list[list[Chunk]] = []
    publisher = Publisher(emitted.append, kept_bytes=100, secrets=[b"hunter2"])
    for data in (b"it is hunt", b"er", b"2!", b" and hunt"):
        publisher.add(Output("stdout", data))
        publisher.flush_if_due()
    publisher.add(Output("stderr", b"hunter2"))
    publisher.end()
    emitted.append(publisher.take())

    sent = {stream: b"".join(c.data for e in emitted for c in e if c.type == stream) for stream in ("stdout", "stderr")}
    assert sent == {"stdout": b"it is ***! and hunt", "stderr": b"***"}
    assert publisher.kept["stdout"].data() == b"it is ***! and hunt"


def test_what_may_begin_a_secret_waits_for_one_window_and_no_longer(eventually) -> None:
    emitted: list[list[Chunk]] = []
    publisher = Publisher(emitted.append, kept_bytes=100, secrets=[b"hunter2"])
    publisher.add(Output("stdout", b"h"))
    publisher.flush_if_due()
    assert emitted == []
    assert publisher.wait_s(time.monotonic(), 1.0) <= WINDOW_S

    eventually(lambda: publisher.flush_if_due() or emitted)
    assert emitted == [[Chunk(seq=16, type="stdout", data=b"h")]]
    assert publisher.wait_s(time.monotonic(), 1.0) == 1.0
