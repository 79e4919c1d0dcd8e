"""Which Celery queues exist, and which job goes into which."""

from enum import StrEnum

TASK_NAME = "leasebox.execute"
"""The only Celery task; its one argument is the job id."""


class Priority(StrEnum):
    """Class of a job; each has a queue of its own."""

    INTERACTIVE = "interactive"
    DEFAULT = "default"
    BATCH = "batch"


def shared(priority: Priority) -> str:
    """Queue that every node consumes."""
    return f"leasebox.{priority}"


def of_node(node: str, priority: Priority) -> str:
    """Queue for jobs whose session lives on `node`."""
    return f"leasebox.node.{node}.{priority}"


def consumed_by(node: str) -> list[str]:
    """All queues of a node, its own first."""
    return [of_node(node, p) for p in Priority] + [shared(p) for p in Priority]
