"""Which settings does a worker refuse?"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from leasebox.contract.errors import ConfigError
from leasebox_worker.config import Timers, load


@pytest.mark.parametrize(
    ("before", "after"),
    [("ping_s", "dead_man_s"), ("dead_man_s", "fence_s"), ("fence_s", "reclaim_s"), ("reclaim_s", "adopt_grace_s")],
)
def test_timers_that_do_not_rise_are_refused(before: str, after: str) -> None:
    equal = {before: getattr(Timers(), after)}

    with pytest.raises(ValidationError, match="timers must rise in this order"):
        Timers(**equal)


def test_a_heartbeat_must_come_before_the_fence() -> None:
    with pytest.raises(ValidationError, match="heartbeat_s must be below fence_s"):
        Timers(heartbeat_s=Timers().fence_s)


@pytest.mark.slow
def test_a_worker_does_not_start_with_timers_that_do_not_rise(tmp_path: Path) -> None:
    given = {"LEASEBOX_HOME": str(tmp_path), "LEASEBOX_TIMERS__DEAD_MAN_S": "10", "LEASEBOX_TIMERS__FENCE_S": "10"}
    command = [sys.executable, "-m", "leasebox_worker.cli", "run", "--driver", "bubblewrap"]
    ended = subprocess.run(
        command, env={**os.environ, **given}, capture_output=True, text=True, timeout=60, check=False
    )

    assert ended.returncode == 78
    assert "timers must rise in this order: ping_s < dead_man_s < fence_s < reclaim_s" in ended.stderr


@pytest.mark.parametrize(
    ("content", "told"),
    [(None, "LEASEBOX_CONFIG: cannot read .*No such file"), (b"a =", "is not TOML"), (b"a = '\xff'", "is not TOML")],
)
def test_a_named_file_that_cannot_be_read_is_an_error(
    content: bytes | None, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "c.toml"
    if content is not None:
        file.write_bytes(content)
    monkeypatch.setenv("LEASEBOX_CONFIG", str(file))

    with pytest.raises(ConfigError, match=told):
        load()


def test_a_dotenv_that_is_no_text_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_bytes(b"\xff\xfe=x")

    with pytest.raises(ConfigError, match=r"\.env is not UTF-8 text"):
        load()


def test_a_wrong_setting_is_told_in_our_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEASEBOX_SLOTS", "many")
    monkeypatch.setenv("LEASEBOX_LOG_LEVEL", "loud")

    with pytest.raises(ConfigError) as refused:
        load()

    told = "LEASEBOX_SLOTS: must be a whole number; LEASEBOX_LOG_LEVEL: must be one of debug, info, warning, error"
    assert str(refused.value) == told


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"LEASEBOX_WEBHOOK_SECRET": "whsec_AAAA"}, "LEASEBOX_WEBHOOK_SECRET: must be 24 to 64 bytes in Base64"),
        ({"LEASEBOX_WEBHOOK_SECRET": "no base64!"}, "LEASEBOX_WEBHOOK_SECRET: must be Base64"),
        ({"LEASEBOX_WEBHOOK_SECRET_FILE": "/nowhere/s"}, "LEASEBOX_WEBHOOK_SECRET_FILE: cannot read /nowhere/s"),
    ],
)
def test_a_secret_that_cannot_sign_is_refused_and_not_repeated(
    given: dict[str, str], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in given.items():
        monkeypatch.setenv(name, value)

    with pytest.raises(ConfigError, match=told) as refused:
        load()

    assert not [value for name, value in given.items() if value in str(refused.value) and not name.endswith("_FILE")]


def test_the_address_of_redis_with_its_password_may_stand_in_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "s").write_text("redis://worker:secret@redis:6379/0\n")
    monkeypatch.setenv("LEASEBOX_URL_FILE", str(tmp_path / "s"))

    assert load().url == "redis://worker:secret@redis:6379/0"


def test_the_secret_of_webhooks_may_stand_in_a_file_and_is_published_to_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "s").write_text("whsec_" + "A" * 44 + "\n")
    monkeypatch.setenv("LEASEBOX_WEBHOOK_SECRET_FILE", str(tmp_path / "s"))
    monkeypatch.setenv("LEASEBOX_WEBHOOK_ALLOW", "Hooks.test, [::1],")

    settings = load()

    assert settings.webhook_key == bytes(33)
    assert settings.published["webhook_allow"] == "::1,hooks.test"
    assert "AAAA" not in repr(settings) + repr(settings.published)
    monkeypatch.delenv("LEASEBOX_WEBHOOK_SECRET_FILE")
    assert "webhook_allow" not in load().published
