"""Do jobs get done here? What nodes and queues say in, named checks out."""

from collections.abc import Iterator, Sequence

from leasebox._obstacles import STEPS
from leasebox._reads import NodeStatus, QueueStatus
from leasebox.cli.check import Check
from leasebox.contract.sizes import duration_text
from leasebox.contract.standing import Cause

_NEARLY = 0.8


def queue_checks(nodes: Sequence[NodeStatus], queues: Sequence[QueueStatus]) -> Iterator[Check]:
    """One for all nodes, one for each that takes no work, one a queue."""
    queued = sum(queue.queued for queue in queues)
    yield _workers(nodes, queued)
    yield from (_node(node) for node in nodes if node.state in ("silent", "dead") or _reasons(node))
    yield from map(_queue, queues)


def _workers(nodes: Sequence[NodeStatus], queued: int) -> Check:
    up = [node for node in nodes if node.state == "up"]
    if not up:
        hint = "leasebox-worker run, with the same LEASEBOX_URL and LEASEBOX_PREFIX"
        return Check("workers", False, False, f"none is up, {queued} jobs queued", hint)
    slots, busy = (sum(int(node.fields.get(name) or 0) for node in up) for name in ("slots", "busy"))
    return Check("workers", True, False, f"{len(up)} up, {busy} of {slots} slots busy, {queued} queued")


def _reasons(node: NodeStatus) -> list[Cause]:
    told = node.fields.get("paused", "").split(",")
    return [Cause(reason) for reason in told if reason in STEPS]


def _node(node: NodeStatus) -> Check:
    name = f"node {node.name}"
    if node.state in ("silent", "dead"):
        what = "its jobs were given to others" if node.state == "dead" else "its jobs are about to be given to others"
        hint = (
            f"start its worker again (LEASEBOX_NODE={node.name}), which keeps its sessions; else nothing is to be done"
        )
        return Check(name, False, False, f"has not answered for {duration_text(round(node.silent_s))}; {what}", hint)
    reasons = _reasons(node)
    return Check(name, False, False, f"takes no work: {', '.join(reasons)}", STEPS[reasons[0]])


def _queue(queue: QueueStatus) -> Check:
    bound = queue.max_jobs
    of = f" of {bound}" if bound else ""
    detail = f"{queue.queued}{of} queued, runnable lines: {queue.waiting_lines}"
    hint = "more workers or slots; LEASEBOX_QUEUE_MAX_JOBS is the bound at which submits are refused"
    return Check(f"queue {queue.name}", not bound or queue.queued < _NEARLY * bound, False, detail, hint)
