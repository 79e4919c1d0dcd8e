"""Does doctor see that jobs are not got done, and by whom?"""

import pytest

from leasebox._reads import NodeStatus, QueueStatus
from leasebox.cli.queue_checks import queue_checks


def node(name: str = "a", silent_s: float = 1.0, **fields: str) -> NodeStatus:
    return NodeStatus(name, 1, silent_s, {"slots": "4", "busy": "1", **fields})


def queue(queued: int, max_jobs: int | None = 10) -> QueueStatus:
    return QueueStatus("leasebox.default", queued, queued, queued, max_jobs)


@pytest.mark.parametrize(
    ("nodes", "queues", "lacks"),
    [
        ([node()], [queue(7), queue(99, None)], {}),
        ([node()], [queue(8)], {"queue leasebox.default": "8 of 10 queued"}),
        ([], [queue(3)], {"workers": "none is up, 3 jobs queued"}),
        ([node(draining="1")], [], {"workers": "none is up, 0 jobs queued"}),
        ([node(paused="engine_down,full")], [], {"node a": "takes no work: engine_down, full"}),
        ([node(paused="")], [], {}),
        ([node(), node("b", silent_s=40)], [], {"node b": "has not answered for 40 seconds; its jobs are about to"}),
        ([node(), node("b", dead="1")], [], {"node b": "its jobs were given to others"}),
    ],
)
def test_what_keeps_jobs_from_being_done_is_named(
    nodes: list[NodeStatus], queues: list[QueueStatus], lacks: dict[str, str]
) -> None:
    found = {check.name: check for check in queue_checks(nodes, queues) if not check.ok}

    assert found.keys() == lacks.keys()
    for name, told in lacks.items():
        assert told in found[name].detail
        assert found[name].hint
        assert not found[name].required
