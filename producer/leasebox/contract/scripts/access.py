"""Which scripts keep API keys? key_create key_rotate key_revoke."""

from __future__ import annotations

import json
from collections.abc import Sequence

from leasebox.contract.keys import Keys
from leasebox.contract.scripts.call import Call


def create(
    keys: Keys, *, key: str, digest: str, tenant: str, scopes: Sequence[str], expires_at: float | None
) -> Call[bool]:
    """Keep a new key; False when another has this id."""
    expiry = "" if expires_at is None else f"{expires_at:.6f}"
    args = (keys.names, key, digest, tenant, json.dumps(list(scopes)), expiry)
    return Call("key_create", (keys.api_key(key), keys.api_keys()), args, _is_ok)


def rotate(keys: Keys, *, key: str, digest: str) -> Call[bool]:
    """Give it another secret; False when it is unknown or revoked."""
    return Call("key_rotate", (keys.api_key(key),), (keys.names, digest), _is_ok)


def revoke(keys: Keys, *, key: str) -> Call[bool]:
    """End it; False when it is unknown."""
    return Call("key_revoke", (keys.api_key(key),), (keys.names,), _is_ok)


def _is_ok(reply: list[bytes]) -> bool:
    return reply[0] == b"ok"
