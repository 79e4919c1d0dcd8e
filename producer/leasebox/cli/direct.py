"""How does the command line do what is the operator's alone? On the installation's Redis, told in its audit log."""

import time
from collections.abc import Callable
from contextlib import nullcontext
from typing import TYPE_CHECKING, TypeVar

from leasebox.contract.errors import ConfigError

if TYPE_CHECKING:
    from leasebox._reads import Flow
    from leasebox.config import ApiSettings
    from leasebox.contract.keys import Keys

A = TypeVar("A")


def settings() -> "tuple[ApiSettings, Keys]":
    """The settings of the API, and the keys of its installation."""
    from leasebox.config import load_api
    from leasebox.contract.keys import Keys

    found = load_api()
    return found, Keys(found.prefix)


def run(given: "ApiSettings", flow: "Flow[A]", refusal: ConfigError) -> A:
    """Carry a flow out on the installation's Redis, or the embedded stack's.

    Args:
        refusal: What to raise when LEASEBOX_URL is that of an API.
    """
    from leasebox._connect import is_http, transport_of
    from leasebox.embedded import Stack

    if is_http(given.url):
        raise refusal
    stack = Stack(given)
    with nullcontext() if given.url is not None else stack.held():
        transport = transport_of(given, given.url or stack.url)
        try:
            return transport.run(flow)
        finally:
            transport.close()


def told(given: "ApiSettings", flow: "Flow[A]", action: str, notes: Callable[[A], dict[str, str]]) -> "Flow[A]":
    """Do what a flow does, and write it into the audit log.

    Args:
        notes: What to tell of its answer: `target`, and what else is known.
    """
    from leasebox import _audit
    from leasebox.contract.audit import Door, Record
    from leasebox.contract.keys import Keys

    signer = given.signer  # a wrong key is said before anything is done
    answer = yield from flow
    known = notes(answer)
    record = Record(time.time(), Door.CLI, action, target=known.pop("target"), more=known)
    yield from _audit.write(Keys(given.prefix), signer, [record])
    return answer
