"""`leasebox keys`: API keys, made and ended in Redis itself; a secret is printed once."""

import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from leasebox.cli import direct, request
from leasebox.cli.verbs import Sentences
from leasebox.contract.errors import ConfigError

if TYPE_CHECKING:
    from leasebox._access import ApiKey, IssuedKey
    from leasebox._reads import Flow
    from leasebox.config import ApiSettings

A = TypeVar("A")
keys_app = typer.Typer(cls=Sentences, no_args_is_help=True, help="Keys for the HTTP API.")
Json = Annotated[bool, typer.Option("--json", help="Exact data as JSON on stdout.")]
KeyId = Annotated[str, typer.Argument(metavar="ID", help="Id of the key, not its text.", callback=request.utf8)]
_DEFAULT_SCOPES = ["jobs:read", "jobs:write", "sessions:*"]


@keys_app.command()
def create(
    tenant: Annotated[str, typer.Option(metavar="TENANT", help="Whose jobs its bearer sees and submits.")],
    scope: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SCOPE", help="jobs:write, jobs:read, sessions:* or admin; default all but admin. May be repeated."
        ),
    ] = None,
    expires: Annotated[str | None, typer.Option(metavar="TIME", help="Good for so long: 12h, 90d.")] = None,
) -> None:
    """Make a key and print it, this once."""
    from leasebox import _access
    from leasebox.cli.show import as_json

    settings, names = direct.settings()
    expires_s = request.seconds("--expires", expires)
    expires_at = None if expires_s is None else time.time() + expires_s
    made = _access.create(names, _pepper(settings), tenant, scope or _DEFAULT_SCOPES, expires_at)
    as_json(asdict(_run(settings, direct.told(settings, made, "key.create", _notes))))


@keys_app.command("list")
def list_(json: Json = False) -> None:
    """List all keys, without their secrets."""
    from leasebox import _access
    from leasebox.cli.show import as_json, clock, table

    settings, names = direct.settings()
    found = _run(settings, _access.listed(names))
    if json:
        as_json([_shown(key) for key in found])
        return
    rows = [
        (key.id, key.tenant, " ".join(key.scopes), clock(key.created_at), clock(key.expires_at), clock(key.revoked_at))
        for key in found
    ]
    table(("key", "tenant", "scopes", "created", "expires", "revoked"), rows)


@keys_app.command()
def rotate(key: KeyId) -> None:
    """Give a key another secret and print it, this once; the earlier one ends within seconds."""
    from leasebox import _access
    from leasebox.cli.show import as_json

    settings, names = direct.settings()
    made = _access.rotate(names, _pepper(settings), key)
    as_json(asdict(_run(settings, direct.told(settings, made, "key.rotate", _notes))))


@keys_app.command()
def revoke(key: KeyId, json: Json = False) -> None:
    """End a key; within seconds no API takes it."""
    from leasebox import _access
    from leasebox.cli.show import as_json, say

    settings, names = direct.settings()
    found = _run(settings, direct.told(settings, _access.revoke(names, key), "key.revoke", _notes))
    if json:
        as_json(_shown(found))
    else:
        say(f"leasebox: key {key} of tenant {found.tenant} is revoked")


def _shown(key: "ApiKey") -> dict[str, Any]:
    return {name: value for name, value in asdict(key).items() if name != "digest"}


def _pepper(settings: "ApiSettings") -> bytes:
    from leasebox._access import checked_pepper

    return checked_pepper(settings.key_pepper.get_secret_value() if settings.key_pepper is not None else None)


def _run(settings: "ApiSettings", flow: "Flow[A]") -> A:
    refusal = ConfigError("keys are made in Redis itself", hint="set LEASEBOX_URL to the Redis, or POST /v1/keys")
    return direct.run(settings, flow, refusal)


def _notes(key: "ApiKey | IssuedKey") -> dict[str, str]:
    return {"target": key.id, "of": key.tenant, "scopes": " ".join(key.scopes)}
