"""The few plain reads of Redis that duties need, as text; state is changed by scripts alone."""

from collections.abc import Sequence
from typing import Any

import redis


def now(client: redis.Redis) -> float:
    """Redis' own clock, unix seconds."""
    seconds, micros = client.time()
    return int(seconds) + int(micros) / 1e6


def due(client: redis.Redis, key: str, until: float, *, limit: int = 64) -> list[str]:
    """Members of a sorted set whose score is `until` at most, the lowest first."""
    return [_text(member) for member in client.zrange(key, "-inf", until, byscore=True, offset=0, num=limit)]


def members(client: redis.Redis, key: str) -> list[str]:
    """All members of a sorted set."""
    return [_text(member) for member in client.zrange(key, 0, -1)]


def scores(client: redis.Redis, key: str) -> dict[str, float]:
    """All members of a sorted set with their scores."""
    found: Any = client.zrange(key, 0, -1, withscores=True)
    return {_text(member): float(score) for member, score in found}


def set_members(client: redis.Redis, key: str) -> list[str]:
    """All members of a set, in order."""
    return sorted(_text(member) for member in client.smembers(key))


def items(client: redis.Redis, key: str) -> list[str]:
    """All items of a list."""
    return [_text(item) for item in client.lrange(key, 0, -1)]


def items_of_each(client: redis.Redis, keys: Sequence[str]) -> list[list[str]]:
    """`items` of many lists in one trip."""
    with client.pipeline(transaction=False) as pipe:
        for key in keys:
            pipe.lrange(key, 0, -1)
        found: list[Any] = pipe.execute()
    return [[_text(item) for item in items] for items in found]


def run_id(client: redis.Redis) -> str:
    """Names one life of the server: another one after every start of Redis."""
    return str(client.info("server")["run_id"])


def fields(client: redis.Redis, key: str, *names: str) -> dict[str, str]:
    """Fields of a hash; "" for each that is not there."""
    values = client.hmget(key, names)
    return {name: "" if value is None else _text(value) for name, value in zip(names, values, strict=True)}


def fields_of_each(client: redis.Redis, keys: Sequence[str], names: Sequence[str]) -> list[dict[str, str]]:
    """`fields` of many hashes in one trip."""
    with client.pipeline(transaction=False) as pipe:
        for key in keys:
            pipe.hmget(key, list(names))
        found: list[Any] = pipe.execute()
    return [
        {name: "" if value is None else _text(value) for name, value in zip(names, values, strict=True)}
        for values in found
    ]


def some_members(client: redis.Redis, key: str, most: int) -> list[str]:
    """Members of a set, all if there are not more than `most`."""
    found: Any = client.srandmember(key, most)
    return [_text(member) for member in found]


def field(client: redis.Redis, key: str, name: str) -> str | None:
    """One field of a hash; None if it is not there."""
    value = client.hget(key, name)
    return None if value is None else _text(value)


def entries_after(client: redis.Redis, stream: str, cursor: str, *, block_ms: int) -> list[tuple[str, dict[str, str]]]:
    """Entries of a stream after `cursor`, waiting up to `block_ms` for the first; at most 64."""
    found = raw_entries_after(client, stream, cursor, count=64, block_ms=block_ms)
    return [(entry, {_text(name): _text(value) for name, value in fields.items()}) for entry, fields in found]


def raw_entries_after(
    client: redis.Redis, stream: str, cursor: str, *, count: int, block_ms: int
) -> list[tuple[str, dict[bytes, bytes]]]:
    """`entries_after` for fields that are no text; at most `count`."""
    found: Any = client.xread({stream: cursor}, count=count, block=block_ms)
    return [(_text(entry), fields) for _, entries in found or [] for entry, fields in entries]


def last_id(client: redis.Redis, stream: str) -> str:
    """Id of the last entry of a stream, `0-0` if it is empty."""
    found: Any = client.xrevrange(stream, count=1)
    return _text(found[0][0]) if found else "0-0"


def _text(value: object) -> str:
    assert isinstance(value, bytes), "a client with decode_responses=False"
    return value.decode()
