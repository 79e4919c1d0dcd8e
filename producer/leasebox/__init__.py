"""Leasebox: run untrusted code from a queue, in sandboxes that a session keeps.

The public names are loaded on first use (PEP 562), so that a worker which imports the contract loads no client.
"""

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from leasebox.aio import AsyncClient
    from leasebox.batch import Batch
    from leasebox.client import Client, JobHandle
    from leasebox.contract.events import Event
    from leasebox.contract.result import JobStatus, Outcome, Result
    from leasebox.contract.spec import JobSpec, Limits
    from leasebox.session import Session

_HOMES = {
    "AsyncClient": "leasebox.aio",
    "Batch": "leasebox.batch",
    "Client": "leasebox.client",
    "JobHandle": "leasebox.client",
    "Session": "leasebox.session",
    "Event": "leasebox.contract.events",
    "JobStatus": "leasebox.contract.result",
    "Outcome": "leasebox.contract.result",
    "Result": "leasebox.contract.result",
    "JobSpec": "leasebox.contract.spec",
    "Limits": "leasebox.contract.spec",
    "LeaseboxError": "leasebox.contract.errors",
    "errors": "leasebox.contract",
    "events": "leasebox.contract",
}

__all__ = [
    "AsyncClient",
    "Batch",
    "Client",
    "Event",
    "JobHandle",
    "JobSpec",
    "JobStatus",
    "Limits",
    "Outcome",
    "Result",
    "Session",
    "__version__",
]


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'leasebox' has no attribute {name!r}")
    if home == "leasebox.contract":
        return import_module(f"{home}.{name}")
    return getattr(import_module(home), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
