"""Does each setting come from the strongest source that has it, and is a wrong one named?"""

from pathlib import Path

import pytest

from leasebox.config import explain, hide_password, load, load_api
from leasebox.contract.errors import ConfigError


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_the_strongest_source_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "c.toml").write_text('tenant = "toml"\nprefix = "toml"\nevents_ttl_s = "2m"\nslots = 3\n')
    (tmp_path / ".env").write_text("LEASEBOX_TENANT=dotenv\nLEASEBOX_PREFIX=dotenv\n")
    monkeypatch.setenv("LEASEBOX_CONFIG", str(tmp_path / "c.toml"))
    monkeypatch.setenv("LEASEBOX_TENANT", "env")
    settings = load()

    assert (settings.tenant, settings.prefix, settings.events_ttl_s) == ("env", "dotenv", 120.0)
    assert load(tenant="given").tenant == "given"
    sources = {shown.name: shown.source for shown in explain(settings)}
    assert (sources["tenant"], sources["prefix"], sources["events_ttl_s"]) == ("environment", ".env", "LEASEBOX_CONFIG")


def test_a_secret_may_stand_in_a_file_and_is_never_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "k").write_text("lbx_geheim\n")
    monkeypatch.setenv("LEASEBOX_API_KEY_FILE", str(tmp_path / "k"))
    settings = load()

    assert settings.api_key is not None
    assert settings.api_key.get_secret_value() == "lbx_geheim"
    assert "geheim" not in str(explain(settings))


def test_the_settings_of_the_api_are_explained_like_those_of_a_client(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("LEASEBOX_KEY_PEPPER", "sixteen bytes of pepper")
    monkeypatch.setenv("LEASEBOX_CORS_ORIGINS", "https://a.example, https://b.example")
    shown = {one.name: (one.value, one.source) for one in explain(load_api())}

    assert shown["key_pepper"] == ("***", "environment")
    assert shown["cors_origins"] == ("https://a.example,https://b.example", "environment")
    assert (shown["api_port"], shown["tenant"]) == (("8707", "default"), ("default", "default"))


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("LEASEBOX_TENANT", "Not A Tenant", "LEASEBOX_TENANT"),
        ("LEASEBOX_EMBEDDED_IDLE_S", "soon", "LEASEBOX_EMBEDDED_IDLE_S"),
        ("LEASEBOX_CONFIG", "/nowhere.toml", "cannot read /nowhere.toml"),
        ("LEASEBOX_URL_FILE", "/nowhere", "LEASEBOX_URL_FILE: cannot read"),
    ],
)
def test_a_wrong_setting_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str, told: str):
    monkeypatch.setenv(name, value)

    with pytest.raises(ConfigError, match=told):
        load()


def test_a_dotenv_that_is_no_text_is_a_sentence(tmp_path: Path):
    (tmp_path / ".env").write_bytes(b"\xff\xfe=x")

    with pytest.raises(ConfigError, match=r"\.env is not UTF-8 text"):
        load()


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://h:1/0", "redis://h:1/0"),
        ("redis://:p@h", "redis://:***@h"),
        ("redis://u:p@x@h/0", "redis://u:***@h/0"),
        ("redis://h/0?password=p@x&db=1", "redis://h/0?password=***&db=1"),
        ("rediss://h/0?username=u&ssl_password=p", "rediss://h/0?username=***&ssl_password=***"),
        ("redis+socket:///s?virtual_host=1&Password=p", "redis+socket:///s?virtual_host=1&Password=***"),
        ("redis://u:p@h/0?password=x", "redis://u:***@h/0?password=***"),
        ("redis://u:a?b@h/0", "redis://u:***@h/0"),
    ],
)
def test_a_password_is_hidden(url: str, shown: str):
    assert hide_password(url) == shown
