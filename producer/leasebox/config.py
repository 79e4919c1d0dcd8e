"""What a client is told by its surroundings: `ClientSettings`, the only reader of the environment on this side."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import AfterValidator, AliasChoices, BeforeValidator, Field, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from leasebox.contract.audit import Signer, signer_of
from leasebox.contract.errors import ConfigError
from leasebox.contract.faults import told_of
from leasebox.contract.names import PREFIX
from leasebox.contract.secret_files import SecretFiles
from leasebox.contract.sizes import Bytes, Seconds
from leasebox.contract.spec import MAX_CODE_BYTES, TenantName
from leasebox.contract.telemetry import traces

S = TypeVar("S", bound="ClientSettings")
_ENV_PREFIX = "LEASEBOX_"
# redis-py and Celery take them as options of a URL too. As far as the next option: a password may hold any `@`.
_SECRET_PARTS = re.compile(r"([?&;][^=&#]*(?:password|username)[^=&#]*=)[^&#]*", re.IGNORECASE)
_SECRET_FIELDS = ("url", "api_key", "key_pepper", "audit_key", "sentry_dsn")


def _state_home() -> Path:
    base = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(base).expanduser() / "leasebox"


def _origins(value: object) -> object:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def _absolute(path: Path) -> Path:
    return path.expanduser().absolute()


class _TomlFile(PydanticBaseSettingsSource):
    """Reads the file that `LEASEBOX_CONFIG` names; its keys are the field names, those of the worker are passed by."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:  # noqa: ARG002
        """Nothing: the file is read as a whole."""
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        path = os.environ.get(f"{_ENV_PREFIX}CONFIG")
        if not path:
            return {}
        import tomllib  # 5 ms, and few have such a file

        try:
            data = tomllib.loads(Path(path).expanduser().read_text())
        except OSError as exc:
            raise ConfigError(f"LEASEBOX_CONFIG: cannot read {path}: {exc.strerror}") from exc
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
            raise ConfigError(f"LEASEBOX_CONFIG: {path} is not TOML: {exc}") from exc
        return {name: data[name] for name in self.settings_cls.model_fields if name in data}


class ClientSettings(BaseSettings):
    """Settings of SDK and CLI: arguments, then the environment, `*_FILE`, `.env`, the TOML file, defaults."""

    model_config = SettingsConfigDict(
        env_prefix=_ENV_PREFIX,
        env_file=".env",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
    )

    url: str | None = None
    """Where jobs go: redis://, rediss://, redis+socket:// or the API's http(s)://; none = the embedded stack."""
    api_key: SecretStr | None = None
    """Key for the API."""
    tenant: TenantName = "default"
    """Whose jobs these are."""
    home: Annotated[Path, AfterValidator(_absolute)] = Field(default_factory=_state_home)
    """State folder of client, embedded stack and worker."""
    embedded_idle_s: Annotated[Seconds, Field(gt=0)] = 600.0
    """The embedded stack stops after so long without a job, a live session or an open stream."""
    result_ttl_s: Annotated[Seconds, Field(ge=1)] = 86400.0
    """How long a finished job and its result are kept."""
    events_ttl_s: Annotated[Seconds, Field(ge=1)] = 600.0
    """How long the events of a finished job are kept."""
    max_code_bytes: Annotated[Bytes, Field(ge=1, le=MAX_CODE_BYTES)] = MAX_CODE_BYTES
    """Longest source that is accepted."""
    prefix: Annotated[str, Field(pattern=PREFIX)] = "lb"
    """First part of every Redis key; workers must use the same."""

    _NAMES: ClassVar[tuple[str, ...]] = ("argument", "environment", "secret file", ".env", "LEASEBOX_CONFIG")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Order of the sources, the strongest first."""
        return (
            init_settings,
            env_settings,
            SecretFiles(settings_cls, _SECRET_FIELDS),
            dotenv_settings,
            _TomlFile(settings_cls),
        )


class ApiSettings(ClientSettings):
    """Settings of the HTTP API, and of `leasebox keys`, which makes what it checks."""

    api_host: str = "127.0.0.1"
    """Address to listen on; anything but loopback needs keys."""
    api_port: int = Field(8707, ge=1, le=65535)
    """Port to listen on."""
    key_pepper: SecretStr | None = None
    """Secret under which keys are kept, at least 16 bytes; with it every request needs a key."""
    audit_key: SecretStr | None = None
    """Secret under which entries of the audit log are chained, at least 16 bytes, the same for workers; none = plain
    SHA-256. Further ones behind commas are earlier keys, which `leasebox audit verify` needs."""
    api_requests_per_minute: int | None = Field(None, ge=1, le=10**9)
    """Requests of one key in any minute, all API processes together; none = no bound."""
    cors_origins: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_origins)] = ()
    """Origins whose pages may ask, separated by commas; none = no other origin."""
    log_level: str = Field("info", pattern="^(debug|info|warning|error)$")
    """debug, info, warning or error."""
    log_format: str = Field("auto", pattern="^(auto|json|console)$")
    """json, console, or auto: console on a terminal."""
    sentry_dsn: SecretStr | None = Field(None, validation_alias=AliasChoices("sentry_dsn", "SENTRY_DSN"))
    """Where failures of ours are reported; none = nowhere."""
    sentry_environment: str | None = Field(
        None, validation_alias=AliasChoices("sentry_environment", "SENTRY_ENVIRONMENT")
    )
    """What reports name as the environment; none = `production`."""

    @property
    def signer(self) -> Signer:
        """What chains the audit log.

        Raises:
            ConfigError: The key is too short.
        """
        return signer_of(self.audit_key.get_secret_value() if self.audit_key is not None else None)


@dataclass(frozen=True, slots=True)
class Explained:
    """One effective setting; `value` is ready to be shown (secrets hidden), `fault` says why it cannot be used."""

    name: str
    value: str
    source: str
    fault: str | None = None


def load(**given: object) -> ClientSettings:
    """Read the settings; a `given` value of None counts as not given.

    Raises:
        ConfigError: Names each wrong setting.
    """
    return _read(ClientSettings, given)


def _read(kind: type[S], given: Mapping[str, object]) -> S:
    try:
        return kind(**{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]
    except ValidationError as exc:
        told = (f"{_ENV_PREFIX}{'_'.join(str(p) for p in e['loc']).upper()}: {told_of(e)}" for e in exc.errors())
        raise ConfigError("; ".join(told), hint="`leasebox config` shows where each setting comes from") from exc
    except UnicodeDecodeError as exc:
        raise ConfigError(".env is not UTF-8 text") from exc
    except OSError as exc:
        raise ConfigError(f".env cannot be read: {exc.strerror}") from exc


def load_api(**given: object) -> ApiSettings:
    """Read the settings of the API, as `load` reads those of a client.

    Raises:
        ConfigError: Names each wrong setting.
    """
    return _read(ApiSettings, given)


def with_given(
    settings: ClientSettings | None, *, url: str | None, api_key: str | None, tenant: str | None
) -> ClientSettings:
    """The settings with what was given as arguments on top.

    Raises:
        ConfigError: A value is malformed.
    """
    if settings is None:
        return load(url=url, api_key=api_key, tenant=tenant)
    given = {name: value for name, value in (("url", url), ("api_key", api_key), ("tenant", tenant)) if value}
    if not given:
        return settings
    return load(**{**{name: getattr(settings, name) for name in ClientSettings.model_fields}, **given})


def explain(settings: ClientSettings) -> list[Explained]:
    """Each effective value with the source that it came from; passwords and keys are shown as `***`."""
    by_source = _by_source(type(settings))
    return [
        Explained(name, _shown(name, getattr(settings, name)), _source_of(name, by_source))
        for name in type(settings).model_fields
    ]


def explain_api() -> list[Explained]:
    """`explain` for the settings of the API; what is wrong is shown as it was given, with its fault.

    Raises:
        ConfigError: A source itself cannot be read.
    """
    try:
        return explain(load_api())
    except ConfigError as exc:
        if not isinstance(exc.__cause__, ValidationError):
            raise
        faults = {str(e["loc"][0]): told_of(e) for e in exc.__cause__.errors() if e["loc"]}
    fields = ApiSettings.model_fields
    rest = load_api(**{name: fields[name].get_default(call_default_factory=True) for name in faults})
    by_source = _by_source(ApiSettings)
    shown = {setting.name: setting for setting in explain(rest)}
    for name, fault in faults.items():
        source = _source_of(name, by_source)
        given = by_source.get(source, {}).get(name)
        shown[name] = Explained(name, "***" if name in _SECRET_FIELDS else str(given), source, fault)
    return list(shown.values())


def _by_source(kind: type[ClientSettings]) -> dict[str, Mapping[str, Any]]:
    from pydantic_settings import DotEnvSettingsSource, EnvSettingsSource

    sources = (
        EnvSettingsSource(kind),
        SecretFiles(kind, _SECRET_FIELDS),
        DotEnvSettingsSource(kind),
        _TomlFile(kind),
    )
    return {name: source() for name, source in zip(ClientSettings._NAMES[1:], sources, strict=True)}


def _source_of(name: str, by_source: Mapping[str, Mapping[str, Any]]) -> str:
    return next((source for source, values in by_source.items() if name in values), "default")


def _shown(name: str, value: object) -> str:
    if value is None:
        return ""
    if name == "url":
        return hide_password(str(value))
    if isinstance(value, tuple):
        return ",".join(value)
    return "***" if isinstance(value, SecretStr) else str(value)


def hide_password(url: str) -> str:
    """The URL with its password as `***`, also one that stands behind the `?`, with the name that goes with it."""
    scheme, mark, rest = _SECRET_PARTS.sub(r"\1***", url).partition("://")
    credentials, at, place = rest.rpartition("@")
    if not at:
        return f"{scheme}{mark}{rest}"
    return f"{scheme}{mark}{credentials.partition(':')[0]}:***@{place}"


def child_environment(**more: str) -> dict[str, str]:
    """The environment for a process that we start: ours, with `more` on top."""
    return {**os.environ, **more}


def traces_wanted() -> bool:
    """Whether the standard variables of OpenTelemetry ask for traces; its SDK reads the others itself."""
    return traces.wanted(os.environ)


def color_wanted() -> bool:
    """False when the user set NO_COLOR (no-color.org)."""
    return not os.environ.get("NO_COLOR")
