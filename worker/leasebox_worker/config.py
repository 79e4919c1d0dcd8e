"""Which settings a worker has; the only place of the worker that reads the environment."""

import base64
import binascii
import os
import re
import socket
import tomllib
from enum import StrEnum
from itertools import pairwise
from pathlib import Path
from typing import Annotated

from pydantic import (
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict
from pydantic_settings.sources import TomlConfigSettingsSource

from leasebox.contract.audit import Signer, signer_of
from leasebox.contract.errors import ConfigError
from leasebox.contract.faults import told_of
from leasebox.contract.names import NODE_NAME, PREFIX
from leasebox.contract.secret_files import SecretFiles
from leasebox.contract.sizes import Seconds
from leasebox.contract.telemetry import traces

_SECRET_FIELDS = ("url", "webhook_secret", "audit_key", "sentry_dsn")


class DriverName(StrEnum):
    """What makes the sandboxes; `auto` takes Docker if an engine answers, else bubblewrap."""

    AUTO = "auto"
    DOCKER = "docker"
    BUBBLEWRAP = "bubblewrap"
    PROCESS = "process"


class OnExit(StrEnum):
    """What becomes of idle sandboxes that could outlive the worker, when it stops."""

    KEEP = "keep"
    DESTROY = "destroy"


class Timers(BaseModel):
    """Timers of the protocol, in seconds. Source of numbers and order: PROTOCOL.md (b).

    `dead_man_s < fence_s < reclaim_s < adopt_grace_s` keeps two attempts of one job apart; the worker refuses to start
    with another order.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    ping_s: Seconds = Field(2.0, gt=0)
    """Between two signs of life to every agent."""
    dead_man_s: Seconds = Field(8.0, gt=0)
    """Silence of the worker after which an agent ends its job."""
    fence_s: Seconds = Field(10.0, gt=0)
    """Without an answered heartbeat a node stops starting jobs."""
    reclaim_s: Seconds = Field(15.0, gt=0)
    """Silence after which a node's jobs are given to others."""
    adopt_grace_s: Seconds = Field(60.0, gt=0)
    """Silence after which a node's sessions are called lost."""
    drained_grace_s: Seconds = Field(600.0, gt=0)
    """The same after a clean drain."""
    heartbeat_s: Seconds = Field(3.0, gt=0)
    """Between two heartbeats of a node."""
    resend_s: Seconds = Field(5.0, gt=0)
    """Between two looks for wake-ups that are missing."""
    resend_grace_s: Seconds = Field(10.0, gt=0)
    """Age from which a wake-up counts as missing."""
    stall_s: Seconds = Field(10.0, gt=0)
    """Jobs wait, slots are free, nothing is taken: after so long the consumer is started again."""
    start_timeout_s: Seconds = Field(120.0, gt=0)
    """From claim to start, a new sandbox included."""
    overdue_grace_s: Seconds = Field(10.0, gt=0)
    """Beyond a job's deadline before others take it."""
    cancel_grace_s: Seconds = Field(1.0, ge=0)
    """From SIGTERM to SIGKILL."""
    held_max_s: Seconds = Field(600.0, gt=0)
    """The longest that a job is held while Redis is away."""
    tombstone_ttl_s: Seconds = Field(86400.0, gt=0)
    """How long the record of a closed session stays."""
    agent_exit_s: Seconds = Field(900.0, gt=0)
    """Silence of the worker after which an agent ends itself."""

    @model_validator(mode="after")
    def _in_order(self) -> "Timers":
        ordered = ("ping_s", "dead_man_s", "fence_s", "reclaim_s", "adopt_grace_s")
        values = [getattr(self, name) for name in ordered]
        if any(a >= b for a, b in pairwise(values)):
            raise ValueError(f"timers must rise in this order: {' < '.join(ordered)}")
        if self.heartbeat_s >= self.fence_s:
            raise ValueError("heartbeat_s must be below fence_s")
        return self


def default_node() -> str:
    """The host's name as a node name: lower case, dots and other characters as dashes."""
    return re.sub(r"[^a-z0-9-]", "-", socket.gethostname().lower())[:63] or "node"


def state_home() -> Path:
    """State folder of this user: `$XDG_STATE_HOME/leasebox`, default `~/.local/state/leasebox`."""
    base = os.environ.get("XDG_STATE_HOME")
    return (Path(base) if base else Path.home() / ".local" / "state") / "leasebox"


def given_secrets() -> dict[str, str]:
    """Secrets of jobs by name, from variables `LEASEBOX_SECRET_<NAME>`; files in `secrets_dir` come before them."""
    start = "LEASEBOX_SECRET_"
    return {name.removeprefix(start): value for name, value in os.environ.items() if name.startswith(start)}


def _webhook_key(secret: SecretStr) -> bytes:
    # Source: Standard Webhooks, "Signature scheme": 24 to 64 random bytes, as Base64 behind `whsec_`.
    try:
        key = base64.b64decode(secret.get_secret_value().removeprefix("whsec_"), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("must be Base64, with or without whsec_ before it") from None
    if not 24 <= len(key) <= 64:
        raise ValueError("must be 24 to 64 bytes in Base64, such as `openssl rand -base64 32` makes")
    return key


def _toml_file(kind: type[BaseSettings], path: Path) -> TomlConfigSettingsSource:
    # pydantic-settings passes by a file that is not there, and the worker would run with other settings than meant.
    try:
        path.open("rb").close()
        return TomlConfigSettingsSource(kind, path)
    except OSError as exc:
        raise ConfigError(f"LEASEBOX_CONFIG: cannot read {path}: {exc.strerror}") from exc
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise ConfigError(f"LEASEBOX_CONFIG: {path} is not TOML: {exc}") from exc


class WorkerSettings(BaseSettings):
    """Settings of a worker: environment `LEASEBOX_*`, `.env`, then the TOML file that `LEASEBOX_CONFIG` names."""

    model_config = SettingsConfigDict(
        env_prefix="LEASEBOX_", env_nested_delimiter="__", env_file=".env", extra="ignore", frozen=True
    )

    url: str = Field("redis://127.0.0.1:6379/0", description="Redis or Valkey, also `redis+socket:///path`")
    home: Path = Field(default_factory=state_home, description="state folder")
    prefix: str = Field("lb", pattern=PREFIX, description="of every key")
    node: str = Field(default_factory=default_node, pattern=NODE_NAME, description="name of this node")
    driver: DriverName = Field(DriverName.AUTO, description="what makes the sandboxes")
    slots: int = Field(
        default_factory=lambda: max(4, 4 * (os.cpu_count() or 1)),
        ge=1,
        le=256,
        description="jobs at the same time; default 4 per core, at least 4",
    )
    interactive_slots: int = Field(
        1, ge=0, description="of the slots, those that only interactive jobs may take; one is always left to the others"
    )
    max_sandboxes: int | None = Field(None, ge=1, description="default one per 64 MiB of memory, at most 200")
    evict_idle_after_s: Seconds | None = Field(
        None, gt=0, description="a full node may end a session that was idle for so long; default never"
    )
    idle_timeout_s: Seconds = Field(1800.0, gt=0, description="a session ends so long after its last use")
    max_idle_timeout_s: Seconds = Field(86400.0, gt=0, description="the longest idle time that a session may ask for")
    max_age_s: Seconds = Field(86400.0, gt=0, description="the oldest that a sandbox of a session may become")
    queue_max_jobs: int = Field(100_000, ge=1, description="queued jobs of a class beyond which submits are refused")
    sweep_period_s: Seconds = Field(60.0, gt=0, description="how often idle sessions are looked for")
    drain_timeout_s: Seconds = Field(60.0, ge=0, description="how long a stopping worker waits for what runs")
    profiles_file: Path | None = Field(None, description="TOML, see `ops/profiles.toml`; default the built-in profiles")
    tenants_file: Path | None = Field(
        None, description="TOML with the quotas of tenants, see `ops/tenants.toml`; default there are none"
    )
    metrics_port: int | None = Field(
        None, ge=1, le=65535, description="of this worker's Prometheus metrics; default none are offered"
    )
    metrics_host: str = Field(
        "127.0.0.1", description="where metrics of workers and exporter are offered; they ask for no key"
    )
    exporter_port: int = Field(8708, ge=1, le=65535, description="of `leasebox-worker exporter`")
    on_exit: OnExit = Field(
        OnExit.KEEP, description="`keep`: idle Docker sessions wait for the next start; `destroy`: all sandboxes end"
    )
    accept_missing: Annotated[frozenset[str], NoDecode] = Field(
        frozenset(), description="required protections to do without, by the names that doctor prints"
    )
    secrets_dir: Path = Field(
        Path("/run/secrets"),
        description="one file a secret, named like it; what a profile's `secrets` may name; where"
        " one has no file, the variable `LEASEBOX_SECRET_<NAME>`",
    )
    audit_key: SecretStr | None = Field(
        None, description="of the audit log's chain, the same as the API's; none = plain SHA-256"
    )
    docker_host: str | None = Field(None, description="default: the local engine")
    runtime: str | None = Field(None, description="OCI runtime, for example runsc")
    webhook_secret: SecretStr | None = Field(
        None,
        description="signs webhooks: `whsec_` and 24 to 64 bytes in Base64, the same on all nodes, also as"
        " `LEASEBOX_WEBHOOK_SECRET_FILE`; none = none is sent",
    )
    webhook_allow: Annotated[frozenset[str], NoDecode] = Field(
        frozenset(),
        description="hosts, with commas between, that may have private addresses or be plain http",
    )
    log_level: str = Field("info", pattern="^(debug|info|warning|error)$", description="debug, info, warning or error")
    log_format: str = Field("auto", pattern="^(auto|json|console)$", description="auto: console on a terminal")
    sentry_dsn: SecretStr | None = Field(
        None,
        validation_alias=AliasChoices("sentry_dsn", "SENTRY_DSN"),
        description="where failures of ours are reported; none = nowhere",
    )
    sentry_environment: str | None = Field(
        None,
        validation_alias=AliasChoices("sentry_environment", "SENTRY_ENVIRONMENT"),
        description="what reports name as the environment; none = `production`",
    )
    timers: Timers = Field(default_factory=Timers, description="`LEASEBOX_TIMERS__HEARTBEAT_S` and so on, see below")

    @model_validator(mode="after")
    def _idle_within_bounds(self) -> "WorkerSettings":
        if self.idle_timeout_s > self.max_idle_timeout_s:
            raise ValueError("idle_timeout_s must not be above max_idle_timeout_s")
        return self

    @field_validator("webhook_secret")
    @classmethod
    def _is_key(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            _webhook_key(value)
        return value

    @field_validator("webhook_allow", mode="before")
    @classmethod
    def _hosts(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        return frozenset(filter(None, (part.strip().lower().strip("[]") for part in value.split(","))))

    @field_validator("accept_missing", mode="before")
    @classmethod
    def _names(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        # Doctor prints `docker.memory-limit`; the driver that is used has but one of that name.
        return frozenset(filter(None, (part.strip().rpartition(".")[2] for part in value.split(","))))

    @field_validator("audit_key")
    @classmethod
    def _long_enough(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            signer_of(value.get_secret_value())
        return value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Name the sources, the strongest first."""
        files = SecretFiles(settings_cls, _SECRET_FIELDS)
        sources = (init_settings, env_settings, files, dotenv_settings, file_secret_settings)
        named = os.environ.get("LEASEBOX_CONFIG")
        return (*sources, _toml_file(settings_cls, Path(named).expanduser())) if named else sources

    @property
    def published(self) -> dict[str, float | str]:
        """What scripts and clients read of the operator's settings, by their names in Redis.

        Bounds of sessions and queues; `webhook_allow`, where webhooks are sent.
        """
        names = ("idle_timeout_s", "max_idle_timeout_s", "max_age_s", "queue_max_jobs", "interactive_slots")
        hooks = {"webhook_allow": ",".join(sorted(self.webhook_allow))} if self.webhook_secret is not None else {}
        return {name: getattr(self, name) for name in names} | hooks

    @property
    def webhook_key(self) -> bytes | None:
        """By which webhooks are signed; None = none is sent."""
        return None if self.webhook_secret is None else _webhook_key(self.webhook_secret)

    @property
    def signer(self) -> Signer:
        """What chains the audit log."""
        return signer_of(self.audit_key.get_secret_value() if self.audit_key is not None else None)

    @property
    def sandbox_bound(self) -> int:
        """How many sandboxes this node may hold."""
        if self.max_sandboxes is not None:
            return self.max_sandboxes
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        return max(1, min(200, memory // (64 << 20)))


def traces_wanted() -> bool:
    """Whether the standard variables of OpenTelemetry ask for traces; its SDK reads the others itself."""
    return traces.wanted(os.environ)


def name_celery_pool(path: str) -> None:
    """Tell Celery which pool `--pool=custom` means; it takes that from the environment alone."""
    os.environ["CELERY_CUSTOM_WORKER_POOL"] = path


def load(**given: object) -> WorkerSettings:
    """Read the settings; `given` (command line) comes first.

    Raises:
        ConfigError: Names each wrong setting.
    """
    try:
        return WorkerSettings(**{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]
    except ValidationError as exc:
        wrong = "; ".join(f"LEASEBOX_{'__'.join(str(p) for p in e['loc']).upper()}: {told_of(e)}" for e in exc.errors())
        raise ConfigError(wrong) from exc
    except UnicodeDecodeError as exc:
        raise ConfigError(".env is not UTF-8 text") from exc
    except OSError as exc:
        raise ConfigError(f".env cannot be read: {exc.strerror}") from exc
