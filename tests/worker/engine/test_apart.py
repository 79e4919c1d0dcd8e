"""How is what came before a bundle written, named and forgotten?"""

from typing import Any

import pytest

from leasebox.contract.result import Artifact
from leasebox_worker.engine.apart import Apart
from leasebox_worker.guestlink.messages import ApartPart
from leasebox_worker.lifecycle.blobs import Blobs

Writers = Any


@pytest.fixture
def work(worker_node: Any) -> Any:
    return worker_node.claim(worker_node.submit())


@pytest.fixture
def writers(worker_node: Any, work: Any) -> Writers:
    return lambda: Blobs(worker_node.runner, worker_node.keys).writers(work)


def told(apart: Apart, writers: Writers, *contents: bytes) -> None:
    for content in contents:
        apart.add(ApartPart(content[:3], is_last=False), writers)
        apart.add(ApartPart(content[3:], is_last=True), writers)


def test_contents_become_artifacts_in_order_and_named_as_they_are_saved(
    worker_node: Any, work: Any, writers: Writers
) -> None:
    apart = Apart()
    told(apart, writers, b"<html>", b"a", b"bb", b"tex")

    found = apart.take(["text/html", "a/b", "a/c", "text/latex"], 3, ["result-3.html"])

    assert [artifact.path for artifact in found.values()] == [
        "result-3-2.html",
        "result-3.bin",
        "result-3-2.bin",
        "result-3.tex",
    ]
    assert [artifact.size_bytes for artifact in found.values()] == [6, 1, 2, 3]
    assert worker_node.redis.get(worker_node.keys.artifact(work.job, found["text/html"].sha256)) == b"<html>"
    assert found["text/html"].content_type == "text/html"


def test_a_bundle_that_names_others_than_came_gets_none_and_neither_does_the_next(writers: Writers) -> None:
    apart = Apart()
    told(apart, writers, b"one", b"two")

    assert apart.take(["a/b"], 1, []) == {}
    assert apart.take(["a/b", "a/c"], 2, []) == {}
    told(apart, writers, b"three")
    assert [type(one) for one in apart.take(["a/b"], 3, []).values()] == [Artifact]


def test_what_never_ends_is_forgotten(worker_node: Any, work: Any, writers: Writers) -> None:
    apart = Apart()
    apart.add(ApartPart(bytes(2 << 20), is_last=False), writers)
    partial = worker_node.keys.artifact(work.job, work.lease)
    assert worker_node.redis.exists(partial)

    apart.end()

    assert not worker_node.redis.exists(partial)
