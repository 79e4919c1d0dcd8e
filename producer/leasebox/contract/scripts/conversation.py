"""How are calls sent while earlier ones have no answer yet? One after the other over one connection, in one thread."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any, TypeVar

import redis
from redis.exceptions import NoScriptError, ResponseError

from leasebox.contract.scripts.call import Call, text
from leasebox.contract.scripts.runner import Runner, parsed

A = TypeVar("A")


class Conversation:
    """The calls of one thread, sent ahead of their answers, which are asked for in the same order.

    A portion that the socket's buffer takes costs no wait: Redis works on it while the caller makes the next one. Once
    the connection fails, each portion is run anew, with the client's retries, when its answers are asked for: the order
    holds, and a script that had run already answers as it did then.

    Args:
        client: With `decode_responses=False`.
        runner: Of the same client.
    """

    def __init__(self, client: redis.Redis, runner: Runner) -> None:
        self._client = client
        self._runner = runner
        self._connection: Any = None
        self._has_failed = False
        self._unanswered: deque[Sequence[Call[Any]]] = deque()

    def __del__(self) -> None:
        self._give_back(is_usable=False)

    def send(self, calls: Sequence[Call[Any]]) -> None:
        """Hand a portion over; that it cannot be sent is told with its answers.

        Raises:
            redis.RedisError: No connection, after the client's retries.
        """
        if calls and self._connection is None and not self._has_failed:
            self._connection = self._client.connection_pool.get_connection()
            for script in {call.script for call in calls}:
                self._client.script_load(text(script))
        self._unanswered.append(calls)
        if not calls or self._has_failed:
            return
        commands = [("EVALSHA", *call.command) for call in calls]
        try:
            self._connection.send_packed_command([b"".join(self._connection.pack_commands(commands))])
        except redis.RedisError:
            self._fail()

    def answers(self) -> list[Any | redis.RedisError]:
        """Wait for the answers to the oldest portion; a call that failed answers with its error, in its place.

        Raises:
            redis.RedisError: No answer, after the client's retries. Some of the calls may have run.
        """
        calls = self._unanswered.popleft()
        replies = self._read(len(calls))
        if replies is None or any(isinstance(reply, NoScriptError) for reply in replies):
            self._fail()
            return self._runner.run_each(calls)
        if not self._unanswered:
            self._give_back(is_usable=True)
        return parsed(calls, replies)

    def _read(self, count: int) -> list[Any] | None:
        replies: list[Any] = []
        while len(replies) < count and not self._has_failed:
            try:
                replies.append(self._connection.read_response())
            except ResponseError as exc:
                replies.append(exc)
            except redis.RedisError:
                return None
        return None if len(replies) < count else replies

    def _fail(self) -> None:
        self._has_failed = True
        self._give_back(is_usable=False)

    def _give_back(self, *, is_usable: bool) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        if not is_usable:
            connection.disconnect()  # answers may be on their way that nobody will read
        self._client.connection_pool.release(connection)
