"""Who may ask? API keys: how one is made, kept without its secret, looked up and checked.

A key is `lbx_<id>_<secret>`. Redis has an HMAC-SHA256 of it under the operator's pepper, so that neither the bearer's
secret nor a copy of Redis alone is good for anything. Secrets are random, so no slow hash is needed.
"""

import base64
import hashlib
import hmac
import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from leasebox._reads import Flow, Query, fields_of, text_of
from leasebox.contract.errors import ConfigError, InvalidSpec, Unauthorized, UnknownKey
from leasebox.contract.keys import Keys
from leasebox.contract.names import IN_WORDS, LABEL
from leasebox.contract.scripts import access

SCOPES = ("jobs:write", "jobs:read", "sessions:read", "sessions:write", "sessions:*", "admin")
MIN_PEPPER_BYTES = 16
_KEY = re.compile(r"lbx_([a-z2-7]{16})_([a-z2-7]{52})")
# What an unknown key is compared with, so that it takes the same time as a known one.
_NOBODY = "0" * 64


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as Redis has it; times are unix seconds."""

    id: str
    tenant: str
    scopes: tuple[str, ...]
    created_at: float
    expires_at: float | None = None
    rotated_at: float | None = None
    revoked_at: float | None = None
    digest: str = ""

    def allows(self, scope: str) -> bool:
        """Whether it may do what needs this scope."""
        wild = scope.partition(":")[0] + ":*"
        return any(granted in (scope, wild, "admin") for granted in self.scopes)


@dataclass(frozen=True, slots=True)
class IssuedKey:
    """A key whose secret is told this once."""

    id: str
    key: str
    tenant: str
    scopes: tuple[str, ...]
    expires_at: float | None


def checked_pepper(pepper: str | None) -> bytes:
    """The pepper as bytes.

    Raises:
        ConfigError: There is none, or it is too short to be one.
    """
    if pepper is None:
        raise ConfigError(
            "LEASEBOX_KEY_PEPPER: keys need one",
            hint="openssl rand -hex 32; all APIs and `leasebox keys` share it",
        )
    if len(pepper.encode()) < MIN_PEPPER_BYTES:
        raise ConfigError(f"LEASEBOX_KEY_PEPPER: at least {MIN_PEPPER_BYTES} bytes", hint="openssl rand -hex 32")
    return pepper.encode()


def checked_scopes(scopes: Sequence[str]) -> tuple[str, ...]:
    """The scopes, each once.

    Raises:
        InvalidSpec: Names one that there is not.
    """
    for scope in scopes:
        if scope not in SCOPES:
            raise InvalidSpec(f"scope: {scope!r} is none of {', '.join(SCOPES)}")
    return tuple(sorted(set(scopes)))


def create(keys: Keys, pepper: bytes, tenant: str, scopes: Sequence[str], expires_at: float | None) -> Flow[IssuedKey]:
    """Make a key.

    Raises:
        InvalidSpec: The tenant or a scope cannot be.
    """
    if not re.fullmatch(LABEL, tenant):
        raise InvalidSpec(f"tenant: {tenant!r} is no name of a tenant: {IN_WORDS[LABEL]}")
    granted = checked_scopes(scopes)
    key = _random(10)
    text = _written(key)
    yield access.create(
        keys, key=key, digest=digest(pepper, text), tenant=tenant, scopes=granted, expires_at=expires_at
    )
    return IssuedKey(key, text, tenant, granted, expires_at)


def rotate(keys: Keys, pepper: bytes, key: str) -> Flow[IssuedKey]:
    """Give a key another secret; the earlier one ends within seconds.

    Raises:
        UnknownKey: There is none, or it is revoked.
    """
    text = _written(key)
    if not (yield access.rotate(keys, key=key, digest=digest(pepper, text))):
        raise UnknownKey(f"no key {key} that could be rotated")
    found: ApiKey = yield look(keys, key)
    return IssuedKey(key, text, found.tenant, found.scopes, found.expires_at)


def revoke(keys: Keys, key: str) -> Flow[ApiKey]:
    """End a key; within seconds no API takes it.

    Raises:
        UnknownKey: There is none.
    """
    if not (yield access.revoke(keys, key=key)):
        raise UnknownKey(f"no key {key}")
    return (yield look(keys, key))  # type: ignore[no-any-return]


def listed(keys: Keys) -> Flow[list[ApiKey]]:
    """All keys, the newest first, without digests."""
    ids = yield Query((("SMEMBERS", keys.api_keys()),), lambda replies: [text_of(key) for key in replies[0]])
    found: list[ApiKey | None] = yield Query(
        tuple(("HGETALL", keys.api_key(key)) for key in ids),
        lambda replies: [_key_of(key, fields_of(reply)) for key, reply in zip(ids, replies, strict=True)],
    )
    known = [replace(key, digest="") for key in found if key is not None]
    return sorted(known, key=lambda key: (-key.created_at, key.id))


def look(keys: Keys, key: str) -> Query[ApiKey | None]:
    """The key of an id."""
    return Query((("HGETALL", keys.api_key(key)),), lambda replies: _key_of(key, fields_of(replies[0])))


def id_of(text: str) -> str | None:
    """The id in what a bearer shows; None for what cannot be a key."""
    match = _KEY.fullmatch(text)
    return match[1] if match else None


def digest(pepper: bytes, text: str) -> str:
    """What Redis has of a key."""
    return hmac.new(pepper, text.encode(), hashlib.sha256).hexdigest()


def checked(found: ApiKey | None, pepper: bytes, text: str, now: float) -> ApiKey:
    """Give the key back if `text` is it and it is good; unknown, wrong and ended ones take the same work.

    Raises:
        Unauthorized: The same words for each of them.
    """
    is_right = hmac.compare_digest(digest(pepper, text), found.digest if found is not None else _NOBODY)
    is_live = found is not None and found.revoked_at is None and (found.expires_at is None or now < found.expires_at)
    if found is None or not is_right or not is_live:
        raise Unauthorized("the key is unknown, expired or revoked", hint="`leasebox keys create` makes one")
    return found


def _written(key: str) -> str:
    return f"lbx_{key}_{_random(32)}"


def _random(size: int) -> str:
    return base64.b32encode(os.urandom(size)).decode().rstrip("=").lower()


def _key_of(key: str, record: dict[str, Any]) -> ApiKey | None:
    if not record.get("digest"):
        return None

    def _at(name: str) -> float | None:
        return float(record[name]) if record.get(name) else None

    return ApiKey(
        id=key,
        tenant=record["tenant"],
        scopes=tuple(json.loads(record["scopes"])),
        created_at=_at("created_at") or 0.0,
        expires_at=_at("expires_at"),
        rotated_at=_at("rotated_at"),
        revoked_at=_at("revoked_at"),
        digest=record["digest"],
    )
