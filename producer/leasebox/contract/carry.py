"""Who carries a flow of requests or calls out? Whoever can do its steps.

An outage, or a file that changed while it was sent, is thrown into the flow, so that it may cope.
"""

from collections.abc import Awaitable, Callable, Generator
from typing import Any, TypeVar

from leasebox.contract.errors import BrokerUnavailable, InvalidSpec

A = TypeVar("A")


def carry_out(flow: Generator[Any, Any, A], do: Callable[[Any], Any]) -> A:
    """Do the steps of a flow to its end.

    Args:
        do: Carries one step out; its `BrokerUnavailable` and `InvalidSpec` go into the flow, all else ends it.

    Raises:
        BrokerUnavailable: The flow did not cope with an outage.
    """
    try:
        step = next(flow)
        while True:
            try:
                answer = do(step)
            except (BrokerUnavailable, InvalidSpec) as exc:
                step = flow.throw(exc)
            else:
                step = flow.send(answer)
    except StopIteration as end:
        value: A = end.value
        return value


async def carry_out_async(flow: Generator[Any, Any, A], do: Callable[[Any], Awaitable[Any]]) -> A:
    """`carry_out` for an event loop."""
    try:
        step = next(flow)
        while True:
            try:
                answer = await do(step)
            except (BrokerUnavailable, InvalidSpec) as exc:
                step = flow.throw(exc)
            else:
                step = flow.send(answer)
    except StopIteration as end:
        value: A = end.value
        return value
