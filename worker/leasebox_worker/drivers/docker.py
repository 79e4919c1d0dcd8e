"""Sandboxes as containers of a Docker engine: found by label after a crash, attached again after a restart.

The hot path is `create`: three requests (create, attach, start), all settings computed once per kind of sandbox.
"""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import docker.errors
import requests.exceptions
import structlog
from docker import APIClient
from docker.utils import kwargs_from_env

from leasebox.contract.errors import ImageMissing, LeaseboxError, SandboxDied, StartFailed
from leasebox_worker.drivers import cgroup, docker_attach, docker_settings, hardening, workspace
from leasebox_worker.drivers.base import (
    Channel,
    Check,
    DriverSettings,
    EngineDown,
    Found,
    Handle,
    Isolation,
    SandboxRequest,
    Stats,
)
from leasebox_worker.drivers.docker_checks import disk_check, engine_checks
from leasebox_worker.drivers.verify import PROBE_LIMITS, Asked, verify_driver

log = structlog.get_logger()


_API_VERSION = "1.41"
_TIMEOUT_S = 20
"""Of one request: a start takes under 2 s on two loaded cores, and an engine that hangs must not hold a job long."""
_PING_TIMEOUT_S = 5
_APPARMOR_LOADED = Path("/sys/kernel/security/apparmor/profiles")
_DEFAULT_HOST = "unix:///var/run/docker.sock"


@dataclass(frozen=True)
class _Places:
    """Where the engine's cgroups are, learnt from one container: asking about each would cost a request a job."""

    example: str
    groups: cgroup.Groups

    def of(self, container: str) -> cgroup.Groups:
        """The cgroups of another container."""
        return {name: Path(str(path).replace(self.example, container)) for name, path in self.groups.items()}


class DockerDriver:
    """Containers of one engine that carry this installation's label; see `base.Driver` for every method."""

    name = "docker"
    isolation = Isolation.FULL
    outlives_worker = True

    def __init__(self, settings: DriverSettings) -> None:
        """Connects to nothing yet.

        Args:
            settings: `docker_host` wins over DOCKER_HOST; TLS and ssh engines are not supported.
        """
        self._settings = settings
        self._host = settings.docker_host or kwargs_from_env().get("base_url") or _DEFAULT_HOST
        self._local = threading.local()
        self._clients: list[APIClient] = []
        self._facts: docker_settings.EngineFacts | None = None
        self._pids: dict[str, int] = {}
        self._groups: _Places | None = None

    def check(self) -> list[Check]:
        """See `base.Driver`; an engine that does not answer is one failed check."""
        try:
            with _engine_errors("the engine"):
                info, version = self._api.info(), self._api.version()
        except StartFailed as exc:
            hint = "start dockerd, or set LEASEBOX_DOCKER_HOST"
            return [Check("engine", ok=False, required=True, detail=exc.detail, hint=hint)]
        return [*engine_checks(info, version, self._settings.runtime), *disk_check(info)]

    def verify(self, agent_dir: Path) -> list[Check]:
        """See `base.Driver`."""
        with _engine_errors("the engine"):
            confined = self._engine().has_apparmor_profile
        asked = Asked(
            sysctls=hardening.sysctls(PROBE_LIMITS),
            confinement=docker_settings.APPARMOR_PROFILE if confined else None,
        )
        return verify_driver(self, agent_dir, self._settings.probe_image, self._limits_seen, asked)

    def ping(self) -> None:
        """See `base.Driver`; by a connection of its own, since those of the pool may be broken."""
        client = APIClient(base_url=self._host, version=_API_VERSION, timeout=_PING_TIMEOUT_S)
        try:
            with _engine_errors("a ping"):
                client.ping()
        except StartFailed as exc:
            raise EngineDown(exc.detail, hint=exc.hint) from exc
        finally:
            client.close()

    def create(self, request: SandboxRequest) -> tuple[Handle, Channel]:
        """See `base.Driver`."""
        with _engine_errors(request.image, makes=request.image):
            body = self._body(request)
            created = self._api.create_container_from_config(body, name=request.name)  # type: ignore[no-untyped-call]
            container = str(created["Id"])
        handle = Handle(self.name, container, request.name)
        channel: Channel | None = None
        try:
            channel = docker_attach.attach(self._host, _API_VERSION, container)
            with _engine_errors(f"the start of {request.name}"):
                self._api.start(container)
        except LeaseboxError as exc:
            if channel:
                channel.close()
            if not isinstance(exc, EngineDown):  # else the job would wait for the engine once more
                self._try_to_kill(handle)
            raise
        return handle, channel

    def attach(self, handle: Handle) -> Channel:
        """See `base.Driver`."""
        if not self._inspect(handle)["State"]["Running"]:
            raise SandboxDied(f"container {handle.name} does not run")
        return docker_attach.attach(self._host, _API_VERSION, handle.id)

    def kill(self, handle: Handle) -> None:
        """See `base.Driver`; one request kills and removes."""
        self._pids.pop(handle.id, None)
        with _engine_errors(handle.name):
            try:
                self._api.remove_container(handle.id, force=True, v=True)
            except docker.errors.NotFound:
                return
            except docker.errors.APIError as exc:
                if exc.status_code != 409:
                    raise
                # Somebody else removes it already; "it is gone" is what kill() promises, so wait for that.
                self._wait_removed(handle)

    def _try_to_kill(self, handle: Handle) -> None:
        """Kill, and let the reason for which it must be killed go first."""
        try:
            self.kill(handle)
        except LeaseboxError as exc:
            log.warning("sandbox_not_removed", sandbox=handle.name, reason=str(exc))

    def list(self) -> list[Found]:
        """See `base.Driver`."""
        wanted = [f"{name}={value}" for name, value in self._settings.labels.items()]
        with _engine_errors("the engine"):
            rows = self._api.containers(all=True, filters={"label": wanted})
        return [_found(row) for row in rows]

    def stats(self, handle: Handle) -> Stats:
        """See `base.Driver`; read from this host's cgroups where they are to be seen, which is 20 times faster."""
        seen = self.quick_stats(handle)
        if seen is None:
            return self._engine_stats(handle)
        return replace(seen, disk_bytes=workspace.used_bytes(self._pid(handle)))

    def quick_stats(self, handle: Handle) -> Stats | None:
        """See `base.Driver`; None where its cgroups are not to be seen: from here, or any more."""
        if self._groups is None:
            self._groups = _Places(handle.id, cgroup.groups_with(handle.id, self._pid(handle)))
        groups = self._groups.of(handle.id)
        try:
            return cgroup.stats(groups) if groups else None
        except SandboxDied:
            return None  # runc removes them at once; how it died, the engine still knows

    def close(self) -> None:
        """See `base.Driver`; containers live on."""
        for client in self._clients:
            client.close()

    @property
    def _api(self) -> APIClient:
        """One client a thread: a requests session is not meant to be shared."""
        client: APIClient | None = getattr(self._local, "client", None)
        if client is None:
            client = APIClient(base_url=self._host, version=_API_VERSION, timeout=_TIMEOUT_S)
            self._local.client = client
            self._clients.append(client)
        return client

    def _body(self, request: SandboxRequest) -> dict[str, object]:
        ours = self._settings.labels
        return docker_settings.body(request, {**request.labels, **ours}, self._engine())

    def _engine(self) -> docker_settings.EngineFacts:
        if self._facts is None:
            info = self._api.info()
            confined = any("name=apparmor" in option for option in info.get("SecurityOptions") or [])
            has_profile = confined and _is_apparmor_profile_loaded()
            self._facts = docker_settings.EngineFacts(int(info["NCPU"]), has_profile, self._settings.runtime)
        return self._facts

    def _inspect(self, handle: Handle) -> Mapping[str, dict[str, object]]:
        with _engine_errors(handle.name):
            try:
                found: Mapping[str, dict[str, object]] = self._api.inspect_container(handle.id)
            except docker.errors.NotFound as exc:
                raise SandboxDied(f"container {handle.name} is gone") from exc
        return found

    def _pid(self, handle: Handle) -> int:
        if handle.id not in self._pids:
            pid = self._inspect(handle)["State"]["Pid"]
            if not isinstance(pid, int) or pid == 0:
                raise SandboxDied(f"container {handle.name} does not run")
            self._pids[handle.id] = pid
        return self._pids[handle.id]

    def _limits_seen(self, handle: Handle) -> cgroup.LimitsSeen:
        return cgroup.limits_of(cgroup.groups_with(handle.id, self._pid(handle)))

    def _engine_stats(self, handle: Handle) -> Stats:
        """For an engine on another host, or a worker that is a container itself: its pids are not ours."""
        was_oom = self._inspect(handle)["State"].get("OOMKilled") is True
        with _engine_errors(handle.name):
            seen = self._api.stats(handle.id, stream=False, one_shot=True)
        memory = seen.get("memory_stats", {})
        return Stats(
            cpu_s=seen["cpu_stats"]["cpu_usage"]["total_usage"] / 1e9,
            memory_bytes=memory.get("usage", 0),
            memory_peak_bytes=memory.get("max_usage", memory.get("usage", 0)),
            oom_kills=int(was_oom),
            pids=seen.get("pids_stats", {}).get("current", 0),
        )

    def _wait_removed(self, handle: Handle) -> None:
        try:
            self._api.wait(handle.id, timeout=_TIMEOUT_S, condition="removed")
        except docker.errors.NotFound:
            return


def _is_apparmor_profile_loaded() -> bool:
    """Whether the operator loaded ours; otherwise the engine's own default applies. Engines accept unknown names."""
    try:
        loaded = _APPARMOR_LOADED.read_text()
    except OSError:
        return False
    return any(line.split()[:1] == [docker_settings.APPARMOR_PROFILE] for line in loaded.splitlines())


def _found(row: Mapping[str, object]) -> Found:
    names, labels, created = row.get("Names"), row.get("Labels"), row.get("Created")
    name = str(names[0]).lstrip("/") if isinstance(names, list) and names else ""
    handle = Handle(DockerDriver.name, str(row["Id"]), name)
    return Found(
        handle=handle,
        labels=dict(labels) if isinstance(labels, dict) else {},
        created_at=float(created) if isinstance(created, int | float) else 0.0,
        alive=row.get("State") == "running",
        image=str(row.get("Image", "")),
    )


@contextmanager
def _engine_errors(subject: str, *, makes: str | None = None) -> Iterator[None]:
    """The one border where the SDK's exceptions become ours.

    Args:
        makes: The image, where a container is made of it; only there "not found" means that it is missing.
    """
    try:
        yield
    except docker.errors.NotFound as exc:
        if makes is None:
            raise StartFailed(f"the engine does not know {subject}: {exc.explanation}") from exc
        raise ImageMissing(f"the engine has no image {makes}", hint=_how_to_get(makes)) from exc
    except docker.errors.DockerException as exc:
        raise StartFailed(f"the engine refused {subject}: {exc}") from exc
    except requests.exceptions.RequestException as exc:
        raise EngineDown(f"the engine did not answer: {exc}", hint="is dockerd running?") from exc


def _how_to_get(image: str) -> str:
    """The command that brings an image: ours are built, any other is pulled."""
    owner, _, name = image.partition("/")
    return f"leasebox-worker images build {name.partition(':')[0]}" if owner == "leasebox" else f"docker pull {image}"
