"""How a request becomes a record: validated, checked against the profiles, sized and named; pure but for the files."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, assert_never

from msgspec import Struct

from leasebox._content import Uploads, file_content, stdin_content
from leasebox._ids import new_job_id
from leasebox._message import Template
from leasebox.config import ClientSettings
from leasebox.contract import CONTRACT_VERSION, errors
from leasebox.contract.blobs import upload
from leasebox.contract.domains import covers
from leasebox.contract.queues import shared
from leasebox.contract.scripts.client import NewJob
from leasebox.contract.sizes import above_text, size_text
from leasebox.contract.spec import (
    ENV_REFUSED,
    SANDBOX_LIMITS,
    JobSpec,
    Kind,
    canonical_data,
    canonical_text,
    parse_spec,
)
from leasebox.contract.telemetry import traces

_NOT_IN_DIGEST = frozenset({"idempotency_key", "metadata", "callback_url"})
_LIMITS = (*SANDBOX_LIMITS, "stream_bytes")


@dataclass(frozen=True, slots=True)
class Profile:
    """A profile as the nodes publish it; `limits` are ceilings, a missing one is not checked here."""

    name: str
    languages: tuple[str, ...] | None
    limits: Mapping[str, float]
    max_timeout_s: float | None
    network: tuple[str, ...] | None
    secrets: tuple[str, ...] | None
    env_allow: tuple[str, ...]
    published: Mapping[str, Any] = field(default_factory=dict)


def parse_profile(name: str, text: bytes | str) -> Profile:
    """Read what a node published; fields that it does not have are not checked early."""
    data = json.loads(text)
    limits = data.get("limits", data)
    return Profile(
        name=name,
        languages=_texts(data.get("languages")),
        limits={key: limits[key] for key in _LIMITS if limits.get(key) is not None},
        max_timeout_s=data.get("max_timeout_s"),
        network=_texts(data.get("network")),
        secrets=_texts(data.get("secrets")),
        env_allow=_texts(data.get("env_allow")) or (),
        published=data,
    )


def _texts(value: Any) -> tuple[str, ...] | None:
    return None if value is None else tuple(value)


def spec_of(
    code: str | None, fields: Mapping[str, object], settings: ClientSettings, uploads: Uploads | None = None
) -> JobSpec:
    """Make the spec from what the caller gave.

    Args:
        uploads: Takes the contents that must be uploaded before the submit; None = such are refused.

    Raises:
        InvalidSpec: Names each wrong field and its bound.
    """
    data = {**fields} if code is None else {**fields, "code": code}
    if code is not None and "code" in fields:
        raise errors.InvalidSpec("code: given twice")
    files = data.get("files")
    if isinstance(files, Mapping):
        data["files"] = {str(path): file_content(f"files.{path}", given, uploads) for path, given in files.items()}
    if data.get("stdin") is not None:
        data["stdin"] = stdin_content(data["stdin"], uploads)
    return checked(parse_spec(data), settings)


def checked(spec: JobSpec, settings: ClientSettings) -> JobSpec:
    """Give the spec back if this client may send it.

    Raises:
        InvalidSpec: The code is longer than `max_code_bytes`.
        ConfigError: It asks for what this version cannot promise.
    """
    if spec.durable:
        raise errors.ConfigError("durable: this version cannot wait for the disk yet", hint="leave `durable` out")
    size_bytes = len((spec.code or "").encode(errors="surrogateescape"))
    if size_bytes > settings.max_code_bytes:
        raise errors.InvalidSpec(
            f"code: {size_text(size_bytes)}, at most {size_text(settings.max_code_bytes)} are accepted"
        )
    return spec


def check_profile(spec: JobSpec, profiles: Mapping[str, Profile]) -> None:
    """Refuse early what every worker would reject; passes when no node has published profiles yet.

    Raises:
        UnknownProfile: No node serves it.
        InvalidSpec: Names the field and the profile's bound.
    """
    if not profiles:
        return
    if spec.profile is None and spec.session is not None:
        # The session's profile is known to Redis alone; what none allows is refused, the worker decides the rest.
        _check_env(spec, frozenset(name for profile in profiles.values() for name in profile.env_allow), "any profile")
        return
    name = spec.profile or "default"
    check_served(name, profiles)
    profile = profiles[name]
    _check_env(spec, frozenset(profile.env_allow), f"profile {name}")
    wrong = _beyond(spec, profile)
    if wrong:
        raise errors.InvalidSpec("; ".join(f"{what} (profile {name})" for what in wrong))


def check_served(name: str | None, profiles: Mapping[str, Profile]) -> None:
    """Refuse a profile that no node serves; passes when no node has published profiles yet.

    Raises:
        UnknownProfile: Names those that are served.
    """
    if name is not None and profiles and name not in profiles:
        raise errors.UnknownProfile(f"profile: no node serves {name!r}", hint=f"known: {', '.join(sorted(profiles))}")


def _check_env(spec: JobSpec, allowed: frozenset[str], by: str) -> None:
    refused = sorted(name for name in spec.env if ENV_REFUSED.fullmatch(name) and name not in allowed)
    if refused:
        raise errors.InvalidSpec(f"env: {', '.join(refused)} changes how programs start and is not allowed by {by}")


def _beyond(spec: JobSpec, profile: Profile) -> list[str]:
    wrong = []
    if spec.command is None and profile.languages is not None and spec.language not in profile.languages:
        wrong.append(f"language: {spec.language!r} is not among {', '.join(profile.languages)}")
    timeout_s = spec.limits.timeout_s
    if timeout_s is not None and profile.max_timeout_s is not None and timeout_s > profile.max_timeout_s:
        wrong.append(f"limits.timeout_s: {above_text('timeout_s', timeout_s, profile.max_timeout_s)}")
    for name, ceiling in profile.limits.items():
        asked = getattr(spec.limits, name)
        if asked is not None and asked > ceiling:
            wrong.append(f"limits.{name}: {above_text(name, asked, ceiling)}")
    if profile.network is not None:
        wrong += [f"network: {domain} is not allowed" for domain in spec.network if not covers(profile.network, domain)]
    if profile.secrets is not None:
        wrong += [f"secrets: {name} is not allowed" for name in spec.secrets if name not in profile.secrets]
    return wrong


class Membership(Struct, frozen=True):
    """The batch that a job belongs to: its index there, None = in order of arrival, and the caller's name for it."""

    batch: str
    index: int | None
    key: str | None


def record(
    spec: JobSpec,
    settings: ClientSettings,
    template: Template,
    job: str | None = None,
    membership: Membership | None = None,
) -> NewJob:
    """Make the record of a new job, with a fresh id unless one is given.

    Its digest is of what must be equal for a repeat with the same idempotency key; key, metadata and callback do not
    count.
    """
    job = job or new_job_id()
    data = canonical_data(spec)
    text = canonical_text(data).encode()
    counted = text
    if not _NOT_IN_DIGEST.isdisjoint(data):
        counted = canonical_text({name: data[name] for name in data.keys() - _NOT_IN_DIGEST}).encode()
    shown = args_text(spec)
    wake = template.fill(job, shared(spec.priority), shown, kwargs_text(spec, settings.tenant))
    return NewJob(
        job=job,
        kind=str(spec.kind),
        tenant=settings.tenant,
        session=spec.session,
        profile=spec.profile,
        priority=str(spec.priority),
        spec=text,
        digest=hashlib.sha256(counted).hexdigest(),
        idempotency_key=spec.idempotency_key,
        must_exist=spec.session_must_exist,
        expires_in_s=spec.expires_in_s,
        retries=spec.retries,
        stdin_open=spec.stdin_open,
        callback_url=spec.callback_url,
        blobs=tuple(upload(settings.tenant, blob) for blob in spec.blobs),
        result_ttl_s=settings.result_ttl_s,
        events_ttl_s=settings.events_ttl_s,
        wake_head=wake.head,
        wake_tail=wake.tail,
        metadata_json=canonical_text(spec.metadata),
        language=spec.language,
        contract_version=str(CONTRACT_VERSION),
        display_name=shown,
        traceparent=traces.traceparent(),
        own_limits=any(getattr(spec.limits, name) is not None for name in SANDBOX_LIMITS),
        batch=membership.batch if membership else None,
        batch_index=membership.index if membership else None,
        batch_key=membership.key if membership else None,
    )


def args_text(spec: JobSpec) -> str:
    """What Flower shows as the arguments: "python 12 lines", "command make"; never code, values or paths of files."""
    match spec.kind:
        case Kind.COMMAND:
            return f"command {(spec.command or [''])[0][:40]}"
        case Kind.FILE:
            return "file"
        case Kind.PROGRAM | Kind.CELL:
            if spec.entry is not None:
                return f"{spec.language} file"
            lines = len((spec.code or "").splitlines())
            return f"{spec.language} {lines} line{'' if lines == 1 else 's'}"
        case _:
            assert_never(spec.kind)


def kwargs_text(spec: JobSpec, tenant: str) -> str:
    """What Flower shows as the keyword arguments: "tenant=acme session=s-1"."""
    return f"tenant={tenant}" + (f" session={spec.session}" if spec.session else "")
