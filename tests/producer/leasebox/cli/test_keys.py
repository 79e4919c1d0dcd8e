"""Does `leasebox keys` make keys that an API takes, and show their secret once?"""

import json
import os
import subprocess
import sys
from typing import Any

import httpx2
import pytest
from tests.producer.leasebox.served import served

from leasebox.config import ClientSettings

pytestmark = pytest.mark.slow
PEPPER = "a pepper of 16 bytes"


@pytest.fixture
def keys(settings: ClientSettings) -> Any:
    """Types `leasebox keys ...`."""
    environment = {
        **os.environ,
        "LEASEBOX_URL": str(settings.url),
        "LEASEBOX_PREFIX": settings.prefix,
        "LEASEBOX_KEY_PEPPER": PEPPER,
    }

    def typed(*words: str, **env: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "leasebox.cli", "keys", *words]
        return subprocess.run(
            command, env={**environment, **env}, capture_output=True, text=True, check=False, timeout=60
        )

    return typed


def test_a_keys_life(keys: Any, settings: ClientSettings, eventually: Any):
    made = json.loads(keys("create", "--tenant", "acme", "--expires", "90d").stdout)
    listed = keys("list", "--json").stdout
    with served(settings, key_pepper=PEPPER) as url, httpx2.Client(base_url=url) as http:

        def status(key: str) -> int:
            return http.get("/v1/jobs", headers={"X-API-Key": key}).status_code

        assert status(made["key"]) == 200
        fresh = json.loads(keys("rotate", made["id"]).stdout)
        eventually(lambda: (status(made["key"]), status(fresh["key"])) == (401, 200), within_s=5)
        assert keys("revoke", made["id"]).returncode == 0
        eventually(lambda: status(fresh["key"]) == 401, within_s=5)

    assert set(made) == {"id", "key", "tenant", "scopes", "expires_at"}
    assert made["scopes"] == ["jobs:read", "jobs:write", "sessions:*"]
    assert made["key"] not in listed
    assert [key["id"] for key in json.loads(listed)] == [made["id"]]
    assert keys("list").stdout.split("\t")[:2] == [made["id"], "acme"]


@pytest.mark.parametrize(
    ("words", "env", "status", "told"),
    [
        (["create", "--tenant", "acme"], {"LEASEBOX_KEY_PEPPER": ""}, 125, "LEASEBOX_KEY_PEPPER"),
        (["create", "--tenant", "Acme!"], {}, 125, "tenant"),
        (["create", "--tenant", "acme", "--scope", "root"], {}, 125, "scope"),
        (["create", "--tenant", "acme", "--expires", "soon"], {}, 2, "--expires"),
        (["revoke", "nobody"], {}, 125, "no key nobody"),
        (["list"], {"LEASEBOX_URL": "https://api.example"}, 125, "Redis itself"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(keys: Any, words: list[str], env: dict[str, str], status: int, told: str):
    done = keys(*words, **env)

    assert done.returncode == status
    assert told in done.stderr
    assert "Traceback" not in done.stderr
