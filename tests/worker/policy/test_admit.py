"""What a job may do under a profile."""

from dataclasses import replace
from typing import Any

import pytest

from leasebox.contract.errors import InvalidSpec
from leasebox.contract.spec import parse_spec
from leasebox_worker.policy.admit import PROXY, Grant, admit
from leasebox_worker.policy.languages import LANGUAGES, Found
from leasebox_worker.policy.profiles import Profile

MIB = 1 << 20


def admitted(profile: Profile | None = None, **spec: Any) -> Grant:
    return admit(parse_spec({"code": "x", **spec}), profile or Profile("default"), node_cpus=2.0)


def test_code_without_limits_gets_those_of_the_profile() -> None:
    grant = admitted()

    assert grant.argv == ("main.py",)
    assert (grant.limits.timeout_s, grant.limits.memory_bytes, grant.limits.cpus) == (30.0, 512 * MIB, 2.0)
    assert None not in grant.limits.model_dump(exclude={"cpu_s", "silence_s"}).values()


def test_code_that_is_not_text_arrives_as_the_bytes_that_it_was() -> None:
    assert admitted(code=b"'\xff'".decode(errors="surrogateescape")).code == b"'\xff'"


@pytest.mark.parametrize(
    ("limits", "bound"),
    [
        ({"memory_bytes": 512 * MIB + 1}, "536870912"),
        ({"memory_bytes": 1024 * MIB}, "1 GiB is above 512 MiB"),
        ({"pids": 129}, "128"),
        ({"cpus": 2.1}, "2.1 is above 2,"),
        ({"disk_bytes": 192 * MIB + 1}, str(192 * MIB)),
        ({"stream_bytes": 64 * MIB + 1}, str(64 * MIB)),
    ],
)
def test_a_limit_above_the_profile_is_refused_and_the_bound_is_named(limits: dict[str, Any], bound: str) -> None:
    with pytest.raises(InvalidSpec, match=f"limits.{next(iter(limits))}: .*{bound}"):
        admitted(limits=limits)


def test_a_limit_at_the_profile_is_accepted() -> None:
    assert admitted(limits={"memory_bytes": 512 * MIB, "timeout_s": 3600}).limits.memory_bytes == 512 * MIB


def test_cpus_never_exceed_those_of_the_node() -> None:
    assert admitted(Profile("big", cpus=64.0)).limits.cpus == 2.0


@pytest.mark.parametrize(
    "name", ["LD_PRELOAD", "GCONV_PATH", "PYTHONSTARTUP", "PATH", "BASH_ENV", "ENV", "IFS", "SHELLOPTS", "PS4"]
)
def test_an_environment_name_that_hooks_programs_is_refused_unless_the_profile_allows_it(name: str) -> None:
    with pytest.raises(InvalidSpec, match=name):
        admitted(env={name: "x"})

    assert admitted(Profile("open", env_allow=(name,)), env={name: "x"}).env[name] == "x"


@pytest.mark.parametrize(
    ("field", "spec"),
    [
        ("secrets", {"secrets": ["TOKEN"]}),
        ("network", {"network": ["example.org"]}),
    ],
)
def test_what_the_profile_does_not_offer_is_refused(field: str, spec: dict[str, Any]) -> None:
    with pytest.raises(InvalidSpec, match=field):
        admitted(**spec)


NET = Profile("net", network=("api.example.com", "*.example.org"), secrets=("TOKEN", "PATH"))


@pytest.mark.parametrize("domain", ["api.example.com", "a.b.example.org", "*.a.example.org", "*.example.org"])
def test_a_domain_within_the_profile_s_list_is_granted_with_a_proxy(domain: str) -> None:
    env = admitted(NET, network=[domain]).env

    assert {env[name] for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy")} == {PROXY}
    assert "HTTPS_PROXY" not in admitted(NET).env


@pytest.mark.parametrize("domain", ["example.org", "example.com", "*.example.com", "api.example.com.evil.net"])
def test_a_domain_beyond_the_list_is_refused_with_what_the_list_has(domain: str) -> None:
    with pytest.raises(InvalidSpec, match="network: profile 'net' does not allow") as caught:
        admitted(NET, network=[domain])
    assert caught.value.hint == "it has api.example.com, *.example.org"


def test_a_profile_without_internet_sockets_has_no_network() -> None:
    with pytest.raises(InvalidSpec, match="strict"):
        admitted(replace(NET, seccomp="strict"), network=["api.example.com"])


def test_a_secret_s_value_is_not_in_the_grant_and_its_name_hooks_nothing() -> None:
    assert "TOKEN" not in admitted(NET, secrets=["TOKEN"]).env
    with pytest.raises(InvalidSpec, match="PATH"):
        admitted(NET, secrets=["PATH"])


def test_bash_runs_from_a_hidden_file_that_no_pattern_of_the_program_finds() -> None:
    grant = admitted(language="bash", args=["a"])

    assert grant.program is not None
    assert (*grant.program.run("/workspace", "."), *grant.argv) == ("bash", ".main.sh", "a")
    assert grant.code_path == ".main.sh"
    assert not grant.is_python


TOOLBOX = {"bash": Found(LANGUAGES["bash"].tools[0], "5.2"), "c": Found(LANGUAGES["c"].tools[0], "12.2")}


@pytest.mark.parametrize(
    ("allowed", "has"),
    [(("python", "bash", "rust"), "it has python, bash"), (("c", "rust"), "it has c"), (("rust",), "it has none")],
)
def test_a_language_that_is_allowed_but_not_there_is_refused_with_what_is(allowed: Any, has: str) -> None:
    with pytest.raises(InvalidSpec, match="language: profile 'p' has no rust") as told:
        admit(
            parse_spec({"code": "x", "language": "rust"}),
            Profile("p", languages=allowed),
            node_cpus=2.0,
            toolbox=TOOLBOX,
        )
    assert told.value.hint == has


@pytest.mark.parametrize("language", ["python", "c"])
def test_a_language_that_is_there_is_admitted_and_python_always_is(language: str) -> None:
    spec = parse_spec({"code": "x", "language": language})

    grant = admit(spec, Profile("default"), node_cpus=2.0, toolbox=TOOLBOX)
    assert (grant.program.version if grant.program else None) == ("12.2" if language == "c" else None)


def test_a_command_needs_no_language() -> None:
    spec = parse_spec({"command": ["ls"], "language": "rust"})

    assert admit(spec, Profile("p", languages=("python",)), node_cpus=2.0, toolbox={}).argv == ("ls",)


def test_a_cell_is_the_code_alone() -> None:
    grant = admitted(session="s", stateful=True)

    assert (grant.is_cell, grant.argv, grant.code_path, grant.code) == (True, (), None, b"x")
    assert not admitted(session="s").is_cell


@pytest.mark.parametrize(
    ("spec", "field"),
    [({"context": "second"}, "context"), ({"args": ["a"]}, "args"), ({"secrets": ["KEY"]}, "secrets")],
)
def test_what_a_cell_cannot_have_is_refused_by_name(spec: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidSpec, match=f"{field}: "):
        admitted(session="s", stateful=True, **spec)


@pytest.mark.parametrize("spec", [{}, {"session": "s", "language": "bash"}])
def test_only_python_in_a_session_may_be_stateful(spec: dict[str, Any]) -> None:
    with pytest.raises(InvalidSpec, match="stateful needs a session and python code"):
        admitted(stateful=True, **spec)
