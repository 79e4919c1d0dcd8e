"""Who sends calls? `Runner` and `AsyncRunner`: EVALSHA, and the text once where Redis does not know it yet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import redis
import redis.asyncio
from redis.exceptions import NoScriptError

from leasebox.contract.scripts.call import Call, text

A = TypeVar("A")


class Runner:
    """Runs calls over a blocking connection.

    Args:
        client: With `decode_responses=False`.
    """

    def __init__(self, client: redis.Redis) -> None:
        self._client = client

    def run(self, call: Call[A]) -> A:
        """Send one call and wait for its answer.

        Raises:
            redis.RedisError: Unchanged; after a connection error the script may have run. Call again: all are
                repeatable.
        """
        try:
            reply = self._client.evalsha(*call.command)
        except NoScriptError:
            self._client.script_load(text(call.script))
            reply = self._client.evalsha(*call.command)
        return call.parse(reply)

    def send(self, commands: Sequence[tuple[str | bytes | int, ...]]) -> list[Any]:
        """Send plain commands in one trip; their replies.

        Raises:
            redis.RedisError: Of the first command that failed; the others have run.
        """
        with self._client.pipeline(transaction=False) as pipe:
            for command in commands:
                pipe.execute_command(*command)  # type: ignore[no-untyped-call]
            return pipe.execute()

    def run_many(self, calls: Sequence[Call[A]]) -> list[A]:
        """Send calls in one trip; they run in order, other clients' calls may run between them.

        Raises:
            redis.RedisError: Of the first call that failed; the others have run.
        """
        return _all(self.run_each(calls))

    def run_each(self, calls: Sequence[Call[A]]) -> list[A | redis.RedisError]:
        """As `run_many`, with the error of a call that failed in place of its answer."""
        replies = self._send(calls)
        unknown = [place for place, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
        if unknown:
            for script in {calls[place].script for place in unknown}:
                self._client.script_load(text(script))
            again = self._send([calls[place] for place in unknown])
            for place, reply in zip(unknown, again, strict=True):
                replies[place] = reply
        return parsed(calls, replies)

    def _send(self, calls: Sequence[Call[A]]) -> list[Any]:
        with self._client.pipeline(transaction=False) as pipe:
            for call in calls:
                pipe.evalsha(*call.command)
            return pipe.execute(raise_on_error=False)


class AsyncRunner:
    """`Runner` for asyncio."""

    def __init__(self, client: redis.asyncio.Redis) -> None:
        self._client = client

    async def run(self, call: Call[A]) -> A:
        """As `Runner.run`."""
        try:
            reply = await self._client.evalsha(*call.command)
        except NoScriptError:
            await self._client.script_load(text(call.script))
            reply = await self._client.evalsha(*call.command)
        return call.parse(reply)

    async def run_many(self, calls: Sequence[Call[A]]) -> list[A]:
        """As `Runner.run_many`."""
        return _all(await self.run_each(calls))

    async def run_each(self, calls: Sequence[Call[A]]) -> list[A | redis.RedisError]:
        """As `Runner.run_each`."""
        replies = await self._send(calls)
        unknown = [place for place, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
        if unknown:
            for script in {calls[place].script for place in unknown}:
                await self._client.script_load(text(script))
            again = await self._send([calls[place] for place in unknown])
            for place, reply in zip(unknown, again, strict=True):
                replies[place] = reply
        return parsed(calls, replies)

    async def _send(self, calls: Sequence[Call[A]]) -> list[Any]:
        async with self._client.pipeline(transaction=False) as pipe:
            for call in calls:
                pipe.evalsha(*call.command)
            return await pipe.execute(raise_on_error=False)


def parsed(calls: Sequence[Call[A]], replies: Sequence[Any]) -> list[A | redis.RedisError]:
    """The answers that the replies mean, errors as they are."""
    return [
        reply if isinstance(reply, redis.RedisError) else call.parse(reply)
        for call, reply in zip(calls, replies, strict=True)
    ]


def _all(answers: Sequence[A | redis.RedisError]) -> list[A]:
    for answer in answers:
        if isinstance(answer, redis.RedisError):
            raise answer
    return [answer for answer in answers if not isinstance(answer, redis.RedisError)]
