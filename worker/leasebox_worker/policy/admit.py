"""May this job run under this profile, and with which limits? A pure function of spec and profile."""

import json
import posixpath
from dataclasses import dataclass

from leasebox.contract.domains import covers
from leasebox.contract.errors import InvalidSpec
from leasebox.contract.sizes import above_text
from leasebox.contract.spec import ENV_REFUSED, SANDBOX_LIMITS, JobSpec, Limits
from leasebox_worker.policy.languages import Program, Toolbox, offered, program_of
from leasebox_worker.policy.profiles import Profile

BASE_ENV = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "LANG": "C.UTF-8",
}
PROXY = "http://127.0.0.1:3128"
PROXY_ENV = {
    **dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), PROXY),
    **dict.fromkeys(("NO_PROXY", "no_proxy"), "localhost,127.0.0.1,::1"),
}
"""Where a job with a network finds the agent's forwarder (`leasebox_guest.egress.PORT`)."""


@dataclass(frozen=True, slots=True)
class Grant:
    """What an admitted job is allowed: the program to start, its environment and its effective limits.

    Attributes:
        is_python: The agent may fork its own interpreter instead of starting one.
        is_cell: The code runs in the session's kept interpreter.
        argv: Program and arguments; for `is_python` the entry file and its arguments, for `program` its arguments.
        cwd: Relative to the workspace, whose path is the driver's.
        code_path: Where the code is written, below /workspace; None if the job brings none.
        limits: Every field is set; the build of a program has them too, for itself.
        program: Of a language other than Python.
    """

    is_python: bool
    is_cell: bool
    argv: tuple[str, ...]
    code: bytes
    code_path: str | None
    cwd: str
    env: dict[str, str]
    limits: Limits
    program: Program | None = None


def admit(spec: JobSpec, profile: Profile, *, node_cpus: float, toolbox: Toolbox | None = None) -> Grant:
    """Decide on one job.

    Args:
        node_cpus: Processors of this node; a profile's `cpus` never exceeds them.
        toolbox: What this node found of the profile's languages; None: nobody knows, and the profile alone decides.

    Raises:
        InvalidSpec: The profile does not allow it; names the field and the bound. Nothing was started.
    """
    if spec.command is None and spec.language not in (has := offered(profile.languages, toolbox)):
        raise InvalidSpec(f"language: profile {profile.name!r} has no {spec.language}", hint=_has(has))
    _check_names(spec, profile)
    if spec.stateful:
        _check_cell(spec)
    program, argv = _program(spec, toolbox)
    is_python = spec.command is None and program is None
    source = program.source if program else "main.py"
    return Grant(
        is_python=is_python,
        is_cell=spec.stateful,
        argv=argv,
        code=(spec.code or "").encode(errors="surrogateescape"),
        code_path=source if spec.code is not None and not spec.stateful else None,
        cwd=spec.cwd or ".",
        env=BASE_ENV | (PROXY_ENV if spec.network else {}) | spec.env,
        limits=effective_limits(spec.limits, profile, node_cpus=node_cpus),
        program=program,
    )


def effective_limits(asked: Limits, profile: Profile, *, node_cpus: float) -> Limits:
    """The profile's limits, tightened by what was asked.

    Raises:
        InvalidSpec: A limit is looser than the profile's.
    """
    ceilings: dict[str, float | None] = {
        "timeout_s": profile.max_timeout_s,
        "cpu_s": None,
        "silence_s": None,
        "output_bytes": None,
        **{name: getattr(profile, name) for name in (*SANDBOX_LIMITS, "stream_bytes")},
    }
    for name, ceiling in ceilings.items():
        value = getattr(asked, name)
        if value is not None and ceiling is not None and value > ceiling:
            raise InvalidSpec(
                f"limits.{name}: {above_text(name, value, ceiling)}, the most that profile {profile.name!r} allows"
            )
    defaults = {name: getattr(profile, name) for name in (*SANDBOX_LIMITS, "timeout_s", "output_bytes", "stream_bytes")}
    merged = defaults | asked.model_dump(exclude_none=True)
    return Limits(**merged | {"cpus": min(merged["cpus"], node_cpus)})


def _check_names(spec: JobSpec, profile: Profile) -> None:
    for name in spec.env:
        if ENV_REFUSED.fullmatch(name) and name not in profile.env_allow:
            raise InvalidSpec(f"env: {name} is refused by profile {profile.name!r}")
    for name in spec.secrets:
        if name not in profile.secrets:
            raise InvalidSpec(f"secrets: profile {profile.name!r} does not offer {name}", hint=_has(profile.secrets))
        if ENV_REFUSED.fullmatch(name) and name not in profile.env_allow:
            raise InvalidSpec(f"secrets: {name} is refused in the environment by profile {profile.name!r}")
    for domain in spec.network:
        if not covers(profile.network, domain):
            raise InvalidSpec(f"network: profile {profile.name!r} does not allow {domain}", hint=_has(profile.network))
    if spec.network and not offers_network(profile):
        raise InvalidSpec(f"network: profile {profile.name!r} has seccomp {profile.seccomp!r}, which has no network")


def offers_network(profile: Profile) -> bool:
    """Whether any job of a profile may have a network; `strict` has no internet sockets, the proxy's door included."""
    return bool(profile.network) and profile.seccomp != "strict"


def made_with(profile: Profile) -> str:
    """What of a profile is in a sandbox for good, besides image and limits; equal texts make equal sandboxes."""
    return json.dumps([profile.seccomp, list(profile.preload), offers_network(profile)])


def _has(names: tuple[str, ...]) -> str:
    return f"it has {', '.join(names)}" if names else "it has none"


def _check_cell(spec: JobSpec) -> None:
    if spec.context != "default":
        raise InvalidSpec(f"context: there is no {spec.context!r}", hint="a session has one interpreter, `default`")
    if spec.args:
        raise InvalidSpec("args: a cell has none", hint="assign a variable in an earlier cell")


def _program(spec: JobSpec, toolbox: Toolbox | None) -> tuple[Program | None, tuple[str, ...]]:
    """The program of a language other than Python, and the words of the job's own."""
    if spec.command is not None:
        return None, (*spec.command, *spec.args)
    if spec.stateful:
        return None, ()
    if spec.language == "python":
        entry = "main.py" if spec.entry is None else posixpath.relpath(spec.entry, spec.cwd or ".")
        return None, (entry, *spec.args)
    return program_of(spec.language, spec.code, spec.entry, toolbox), tuple(spec.args)
