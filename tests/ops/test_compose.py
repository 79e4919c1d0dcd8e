"""Is compose.yaml what it says: valid, hardened, on loopback, and without a secret in it?"""

import re
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.ops import compose

CONFIG = compose.load({})
SERVICES = CONFIG["services"]
PORTS = {"api": 8707, "exporter": 8708, "worker": 8709}


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What ops/make-secrets.sh makes."""
    folder = tmp_path_factory.mktemp("made") / "secrets"
    subprocess.run([compose.ROOT / "ops" / "make-secrets.sh", folder], check=True, timeout=60)
    return folder


def test_the_file_keeps_to_the_schema_of_compose() -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(compose.FILE)]
    checked = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

    assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize("name", SERVICES)
def test_each_service_is_hardened_bounded_and_looked_after(name: str) -> None:
    service = SERVICES[name]

    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert not {"cap_add", "privileged", "network_mode", "pid", "ipc"} & service.keys()
    assert "no-new-privileges:true" in service["security_opt"]
    assert service["mem_limit"]
    assert service["pids_limit"]
    image = re.fullmatch(r"leasebox/(\w+):latest", service["image"])
    assert "healthcheck" in service or "HEALTHCHECK" in _recipe(image[1] if image else "")
    for port in service.get("ports", []):
        assert port.startswith("127.0.0.1:")


def _recipe(name: str) -> str:
    return (compose.ROOT / "ops" / "docker" / name / "Dockerfile").read_text()


def test_the_engines_socket_and_the_state_folder_are_in_the_worker_alone() -> None:
    with_socket = [name for name, service in SERVICES.items() if "docker.sock" in str(service)]

    assert with_socket == ["worker"]
    home = SERVICES["worker"]["environment"]["LEASEBOX_HOME"]
    assert f"{home}:{home}" in SERVICES["worker"]["volumes"], "the engine knows its files by the host's paths"


def test_only_redis_own_network_reaches_it_and_has_no_way_out() -> None:
    assert SERVICES["redis"]["networks"] == ["backend"]
    assert "ports" not in SERVICES["redis"]
    assert CONFIG["networks"]["backend"] == {"internal": True}


def test_every_secret_is_made_by_the_script_and_none_stands_in_the_file(secrets: Path) -> None:
    for name, given in CONFIG["secrets"].items():
        assert given == {"file": f"./secrets/{name}"}
        assert (secrets / name).stat().st_size > 20
    for service in SERVICES.values():
        assert set(service.get("secrets", [])) <= CONFIG["secrets"].keys()
        for variable, value in service.get("environment", {}).items():
            assert "PASS" not in variable or value.startswith("/run/secrets/")
            assert not re.search("(PASSWORD|PEPPER|KEY|SECRET|DSN)$", variable) or value is None


def test_secrets_are_for_their_owner_alone_and_stay_when_the_script_runs_again(secrets: Path) -> None:
    before = {path.name: path.read_text() for path in secrets.iterdir() if path.is_file()}
    subprocess.run([compose.ROOT / "ops" / "make-secrets.sh", secrets], check=True, timeout=60)

    assert stat.S_IMODE(secrets.stat().st_mode) == 0o700
    assert {path.name: path.read_text() for path in secrets.iterdir() if path.is_file()} == before
    passwords = re.findall(r"redis://\w+:(\w+)@", "".join(before.values()))
    assert len(set(passwords)) == 4
    assert not any(password in before["redis-users.acl"] for password in passwords)


def test_no_role_of_redis_may_manage_it_and_flower_sees_no_record(secrets: Path) -> None:
    rules = dict(re.findall(r"^user (\w+) (.*)$", (secrets / "redis-users.acl").read_text(), re.MULTILINE))

    assert rules["default"] == "off"
    for role in ("api", "worker", "flower"):
        assert "-@admin" in rules[role] or "-@all" in rules[role]
        assert "-@dangerous" in rules[role]
    assert "~lb:" not in rules["flower"]
    assert "celery-task-meta" not in rules["flower"]
    assert "~*" not in rules["worker"].split()


def test_redis_is_told_the_rules_of_the_one_file_for_the_roles_that_have_a_password(secrets: Path) -> None:
    rules = (compose.ROOT / "ops" / "redis" / "users.acl.in").read_text().splitlines()
    made = (secrets / "redis-users.acl").read_text()
    told = re.sub(r"^(user (\w+) on )#[0-9a-f]{64} ", r"\1#@\2@ ", made, flags=re.MULTILINE)

    assert set(told.splitlines()) <= set(rules)
    users = re.findall(r"^user (\w+)", told, re.MULTILINE)
    assert users == ["default", "health", "api", "worker", "flower", "operator"]


def test_each_variable_of_the_file_is_explained_in_the_example() -> None:
    example = (compose.ROOT / ".env.example").read_text()
    handed_on = re.findall(r"^      ([A-Z_]+):$", compose.FILE.read_text(), re.MULTILINE)
    variables = {*re.findall(r"\$\{(\w+)", compose.FILE.read_text()), *handed_on}

    assert [name for name in sorted(variables) if not re.search(rf"^#?{name}=", example, re.MULTILINE)] == []
    given = dict(re.findall(r"^#?(\w+)=(.+)$", example, re.MULTILINE))
    defaults = dict(re.findall(r"\$\{(\w+):-([^}]+)\}", compose.FILE.read_text()))
    assert {name: given[name] for name in defaults} == defaults


def test_what_images_are_built_from_holds_no_secret() -> None:
    allowed = re.findall(r"^!(\S+)$", (compose.ROOT / ".dockerignore").read_text(), re.MULTILINE)

    assert (compose.ROOT / ".dockerignore").read_text().splitlines().count("*") == 1
    assert not any(path.startswith(("secrets", ".env", ".git", "tests")) for path in allowed)


def test_the_profiles_start_what_they_say() -> None:
    by_profile: dict[str, list[str]] = {}
    for name, service in SERVICES.items():
        for profile in service.get("profiles", ["-"]):
            by_profile.setdefault(profile, []).append(name)

    expected: dict[str, Any] = {
        "-": ["redis", "api", "worker"], "flower": ["flower"], "monitoring": ["exporter", "prometheus", "grafana"],
    }  # fmt: skip
    assert by_profile == expected


def test_prometheus_asks_the_services_where_they_answer() -> None:
    """Each target is a service of its network, at the port that its recipe or settings name."""
    files = (compose.ROOT / "ops" / "prometheus" / "targets").glob("*.yml")
    targets = {path.stem: yaml.safe_load(path.read_text()) for path in files}

    assert targets == {name: [{"targets": [f"{name}:{port}"]}] for name, port in PORTS.items()}
    assert SERVICES["worker"]["environment"]["LEASEBOX_METRICS_PORT"] == str(PORTS["worker"])
    assert str(PORTS["exporter"]) in str(SERVICES["exporter"]["healthcheck"])
    assert str(PORTS["api"]) in SERVICES["api"]["ports"][0]
    for name in PORTS:
        assert set(SERVICES["prometheus"]["networks"]) & set(SERVICES[name]["networks"])
