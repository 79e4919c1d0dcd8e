"""How are the protocol's scripts called? Sans-IO: a script is a `Call`, and a runner sends it.

One `.lua` file per state change (PROTOCOL.md section b); `client.py`, `worker.py` and `node.py` make the calls of each
caller, `answers.py` has what comes back. Redis errors pass through unchanged.
"""

from leasebox.contract.scripts.call import Call
from leasebox.contract.scripts.conversation import Conversation
from leasebox.contract.scripts.runner import AsyncRunner, Runner

__all__ = ["AsyncRunner", "Call", "Conversation", "Runner"]
