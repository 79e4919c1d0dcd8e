"""Is a key good only for whoever has it, while it is good?"""

import pytest

from leasebox import errors
from leasebox._access import ApiKey, checked, checked_pepper, create, digest, id_of, listed, revoke, rotate
from leasebox._redis import RedisTransport
from leasebox.config import ClientSettings
from leasebox.contract.keys import Keys

PEPPER = b"sixteen bytes at least"
TEXT = f"lbx_{'a' * 16}_{'b' * 52}"


def key(**fields: object) -> ApiKey:
    return ApiKey(
        **{"id": "a" * 16, "tenant": "t", "scopes": (), "created_at": 0.0, "digest": digest(PEPPER, TEXT), **fields}
    )


@pytest.mark.parametrize(
    ("found", "shown", "is_good"),
    [
        (key(), TEXT, True),
        (key(expires_at=101.0), TEXT, True),
        (key(expires_at=100.0), TEXT, False),
        (key(revoked_at=1.0), TEXT, False),
        (key(), TEXT[:-1] + "c", False),
        (key(digest=""), TEXT, False),
        (None, TEXT, False),
        (None, "", False),
    ],
)
def test_a_key_is_good_while_it_is_its_own_and_live(found: ApiKey | None, shown: str, is_good: bool):
    if is_good:
        assert checked(found, PEPPER, shown, 100.0) is found
    else:
        with pytest.raises(errors.Unauthorized, match="unknown, expired or revoked"):
            checked(found, PEPPER, shown, 100.0)


@pytest.mark.parametrize(
    ("scopes", "scope", "allowed"),
    [
        (("jobs:read",), "jobs:read", True),
        (("jobs:read",), "jobs:write", False),
        (("sessions:*",), "sessions:write", True),
        (("sessions:*",), "jobs:read", False),
        (("admin",), "jobs:write", True),
        (("jobs:read",), "admin", False),
        ((), "jobs:read", False),
    ],
)
def test_scopes_open_what_they_name(scopes: tuple[str, ...], scope: str, allowed: bool):
    assert key(scopes=scopes).allows(scope) is allowed


@pytest.mark.parametrize("text", ["", "lbx_", TEXT.upper(), TEXT + "a", TEXT[:-1], f"{TEXT}\n", TEXT.replace("a", "1")])
def test_what_cannot_be_a_key_has_no_id(text: str):
    assert id_of(text) is None
    assert id_of(TEXT) == "a" * 16


@pytest.mark.parametrize("pepper", [None, "", "too short"])
def test_a_pepper_must_be_one(pepper: str | None):
    with pytest.raises(errors.ConfigError, match="LEASEBOX_KEY_PEPPER"):
        checked_pepper(pepper)


def test_a_keys_life(settings: ClientSettings):
    run, keys = RedisTransport(str(settings.url)).run, Keys(settings.prefix)
    made = run(create(keys, PEPPER, "acme", ["jobs:read", "jobs:read"], 5.0))
    fresh = run(rotate(keys, PEPPER, made.id))
    ended = run(revoke(keys, made.id))

    assert made.key != fresh.key
    assert id_of(made.key) == id_of(fresh.key) == made.id
    assert (fresh.tenant, fresh.scopes, fresh.expires_at) == ("acme", ("jobs:read",), 5.0)
    assert ended.revoked_at is not None
    assert [key.id for key in run(listed(keys))] == [made.id]
    with pytest.raises(errors.UnknownKey):
        run(rotate(keys, PEPPER, made.id))
    with pytest.raises(errors.UnknownKey):
        run(revoke(keys, "nobody"))
    with pytest.raises(errors.InvalidSpec, match="scope"):
        run(create(keys, PEPPER, "acme", ["root"], None))
    with pytest.raises(errors.InvalidSpec, match="tenant"):
        run(create(keys, PEPPER, "Acme", [], None))
