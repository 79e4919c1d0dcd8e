"""Which quotas a file gives, and what is said of a wrong one."""

import json
from pathlib import Path

import pytest

from leasebox.contract.errors import ConfigError
from leasebox_worker.policy.quota import MOST, Quota, digest, load, published

EXAMPLE = Path(__file__).parents[3] / "ops" / "tenants.toml"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "tenants.toml"


def test_without_a_file_nobody_is_bound() -> None:
    assert load(None) == {}
    assert published({}) == {}


def test_the_example_is_read_as_it_says() -> None:
    assert load(EXAMPLE) == {
        "default": Quota(10_000, 8, 50, 14_400.0, 10 << 30, 3000),
        "batch-team": Quota(running=64, submits_per_minute=60_000),
        "suspended": Quota(queued=0, running=0, sessions=0),
    }


def test_scripts_read_the_bounds_that_are_given_and_no_others(file: Path) -> None:
    file.write_text('[tenants.acme]\nqueued = 0\nbytes_per_day = "1KiB"\n[tenants.free]\n')

    told = {name: json.loads(body) for name, body in published(load(file)).items()}
    assert told == {"acme": {"queued": 0, "bytes_per_day": 1024}, "free": {}}


def test_equal_quotas_have_equal_digests_in_any_order(file: Path) -> None:
    file.write_text("[tenants.a]\nqueued = 1\nrunning = 2\n[tenants.b]\n")
    one = load(file)
    file.write_text("[tenants.b]\n[tenants.a]\nrunning = 2\nqueued = 1\n")

    assert digest(one) == digest(load(file)) != digest({**one, "b": Quota(queued=1)})


def test_the_greatest_bound_is_taken(file: Path) -> None:
    file.write_text(f"[tenants.a]\nqueued = {MOST}\ncpu_s_per_day = {MOST}\nbytes_per_day = {MOST}\n")

    assert load(file)["a"] == Quota(queued=MOST, cpu_s_per_day=MOST, bytes_per_day=MOST)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("queued = -1", "'a': queued: must be at least 0"),
        ("running = nan", "'a': running: must be a whole number"),
        ("running = 1.5", "'a': running: must be a whole number"),
        ("running = true", "'a': running: must be a whole number"),
        ('sessions = "9"', "'a': sessions: must be a whole number"),
        ("cpu_s_per_day = nan", "'a': cpu_s_per_day: must be at least 0"),
        ("cpu_s_per_day = inf", "'a': cpu_s_per_day: must be at most 1e+15"),
        ("cpu_s_per_day = -0.1", "'a': cpu_s_per_day: must be at least 0"),
        ('cpu_s_per_day = "-1h"', "'a': cpu_s_per_day: not a duration: '-1h'"),
        ("cpu_s_per_day = 1e16", "'a': cpu_s_per_day: must be at most 1e+15"),
        ("bytes_per_day = nan", "'a': bytes_per_day: must be a whole number"),
        ('bytes_per_day = "9EiB"', "'a': bytes_per_day: not a size: '9EiB'"),
        ("bytes_per_day = false", "'a': bytes_per_day: must be a whole number"),
        (f"submits_per_minute = {MOST + 1}", "'a': submits_per_minute: must be at most 1e+15"),
        ("submits_per_minute = 99999999999999999999", "'a': submits_per_minute: must be at most 1e+15"),
        ("runing = 1", "'a': runing: unknown field; there are queued, running, sessions"),
    ],
)
def test_a_wrong_bound_is_refused_with_tenant_field_and_what_it_may_be(file: Path, text: str, told: str) -> None:
    file.write_text(f"[tenants.a]\n{text}\n")

    with pytest.raises(ConfigError) as refused:
        load(file)
    assert str(file) in refused.value.detail
    assert told in refused.value.detail


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[tenants.a\n", "is not TOML"),
        ("[tenant.a]\n", r"holds \[tenants.NAME\] tables alone, not tenant"),
        ("tenants = 3\n", r"holds \[tenants.NAME\] tables alone"),
        ("[tenants]\na = 3\n", r"tenant 'a': write \[tenants.a\]"),
        ("[tenants.A_b]\n", "tenant 'A_b': is no name of a tenant: up to 32 of a-z"),
    ],
)
def test_a_file_of_another_form_is_refused(file: Path, text: str, told: str) -> None:
    file.write_text(text)

    with pytest.raises(ConfigError, match=told):
        load(file)


def test_every_fault_is_told_at_once_and_a_file_that_is_not_there_too(file: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load(file)
    file.write_text("[tenants.a]\nqueued = -1\nrunning = -1\n[tenants.b]\nx = 1\n")
    with pytest.raises(ConfigError, match=r"'a': queued.*'a': running.*'b': x"):
        load(file)
