"""How are the protocol's scripts called? Sans-IO: a script is a `Call`, and a runner sends it.

One `.lua` file per state change (PROTOCOL.md section b); `client.py`, `worker.py` and `node.py` make the calls of each
caller, `answers.py` has what comes back. Redis errors pass through unchanged. What sends is loaded on first use
(PEP 562): redis-py takes half as long to import as all else, and a client of the HTTP API needs none of it.
"""

from typing import TYPE_CHECKING

from leasebox.contract.scripts.call import Call

if TYPE_CHECKING:
    from leasebox.contract.scripts.conversation import Conversation
    from leasebox.contract.scripts.runner import AsyncRunner, Runner

__all__ = ["AsyncRunner", "Call", "Conversation", "Runner"]


def __getattr__(name: str) -> object:
    if name == "Conversation":
        from leasebox.contract.scripts import conversation

        return conversation.Conversation
    if name in ("AsyncRunner", "Runner"):
        from leasebox.contract.scripts import runner

        return getattr(runner, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
