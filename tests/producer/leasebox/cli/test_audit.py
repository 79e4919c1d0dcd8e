"""Does `leasebox audit` show who did what, and does `verify` say by its exit status what was done to the chain?"""

import json
import os
import signal
import subprocess
import sys
from typing import Any

import pytest
from tests.producer.leasebox.server.conftest import PEPPER, keyed  # noqa: F401

from leasebox import _audit
from leasebox._redis import RedisTransport
from leasebox.config import ClientSettings
from leasebox.contract.audit import Door, Record, signer_of
from leasebox.contract.keys import Keys

pytestmark = pytest.mark.slow
KEY, LATER = "a key of 16 bytes", "a later key of 16 bytes"


@pytest.fixture
def environment(settings: ClientSettings) -> dict[str, str]:
    given = {"URL": str(settings.url), "PREFIX": settings.prefix, "KEY_PEPPER": PEPPER, "AUDIT_KEY": KEY}
    return {**os.environ, **{f"LEASEBOX_{name}": value for name, value in given.items()}}


@pytest.fixture
def typed(environment: dict[str, str]) -> Any:
    """Types `leasebox ...`."""

    def run(*words: str, **env: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "leasebox.cli", *words]
        return subprocess.run(
            command, env={**environment, **env}, capture_output=True, text=True, check=False, timeout=60
        )

    return run


@pytest.fixture
def written(settings: ClientSettings) -> Any:
    """Puts an entry into the chain, by its target and the setting of the key."""
    transport, keys = RedisTransport(str(settings.url)), Keys(settings.prefix)

    def write(target: str, key: str) -> None:
        transport.run(_audit.write(keys, signer_of(key), [Record(1.0, Door.HTTP, "a", target=target)]))

    return write


def test_what_the_operator_does_with_keys_is_told_and_verified(typed: Any, redis: Any, settings: ClientSettings):
    made = json.loads(typed("keys", "create", "--tenant", "acme").stdout)
    typed("keys", "revoke", made["id"])
    told = json.loads(typed("audit", "tail", "--json").stdout)
    sound = typed("audit", "verify", "--json")
    last = json.loads(sound.stdout)["last"]

    assert [(one["action"], one["target"], one["actor"], one["door"]) for one in told] == [
        ("key.create", made["id"], "local", "cli"),
        ("key.revoke", made["id"], "local", "cli"),
    ]
    assert told[0]["more"] == {"of": "acme", "scopes": "jobs:read jobs:write sessions:*"}
    assert made["key"] not in json.dumps(told)
    assert typed("audit", "tail", "-n", "1").stdout.split("\t")[5:7] == ["key.revoke", made["id"]]
    assert (sound.returncode, json.loads(sound.stdout)["ok"], json.loads(sound.stdout)["signed"]) == (0, True, 2)
    assert last == f"2:{told[1]['hash']}"

    redis.xdel(Keys(settings.prefix).audit(), "1-0")
    broken = typed("audit", "verify", "--noted", "9:x")
    assert broken.returncode == 1
    assert broken.stdout.splitlines() == [
        "1\tremoved\tentry 1 is missing",
        "9\tremoved\tentry 9 was noted, the chain ends with 2",
    ]
    assert "NOT as it was written" in broken.stderr
    assert last in broken.stderr


def test_a_rotation_of_the_key(typed: Any, written: Any):
    written("1", KEY)
    written("2", f"{LATER},{KEY}")

    rotated = typed("audit", "verify", "--json", LEASEBOX_AUDIT_KEY=f"{LATER},{KEY}")
    assert (rotated.returncode, json.loads(rotated.stdout)["signed"]) == (0, 2)
    without = typed("audit", "verify", "--json", LEASEBOX_AUDIT_KEY=LATER)
    assert (without.returncode, [one["kind"] for one in json.loads(without.stdout)["faults"]]) == (1, ["unknown_key"])


def test_follow_goes_on_with_what_comes(environment: dict[str, str], written: Any):
    written("1", KEY)
    command = [sys.executable, "-m", "leasebox.cli", "audit", "tail", "-f", "--json"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        first = json.loads(child.stdout.readline())
        written("2", KEY)
        second = json.loads(child.stdout.readline())
        child.send_signal(signal.SIGINT)
        assert child.wait(30) == 130

    assert (first["n"], second["n"], second["target"]) == (1, 2, "2")


def test_an_admins_key_reads_it_over_http_and_no_other(typed: Any, keyed: Any, written: Any):  # noqa: F811
    written("1", KEY)
    ops, red = keyed.key("ops", "admin").key, keyed.key("red").key

    told = typed("audit", "tail", "--json", LEASEBOX_URL=keyed.url, LEASEBOX_API_KEY=ops)
    assert json.loads(told.stdout)[0]["target"] == "1"
    refused = typed("audit", "tail", LEASEBOX_URL=keyed.url, LEASEBOX_API_KEY=red)
    assert (refused.returncode, "admin" in refused.stderr) == (125, True)
    elsewhere = typed("audit", "verify", LEASEBOX_URL=keyed.url)
    assert (elsewhere.returncode, "Redis itself" in elsewhere.stderr) == (125, True)


def test_a_key_that_is_none_is_one_sentence(typed: Any):
    done = typed("audit", "verify", LEASEBOX_AUDIT_KEY="short")

    assert (done.returncode, "LEASEBOX_AUDIT_KEY" in done.stderr, "Traceback" in done.stderr) == (125, True, False)


def test_what_others_chose_does_not_steer_a_terminal():
    from leasebox.cli.audit import _row

    row = _row({"n": 1, "at": 1.0, "target": "a\x1b[2J\u202eb", "more": {"host": "x\n"}})

    assert row[6] == r"a\x1b[2J\u202eb"
    assert row[8] == r"host=x\n"
