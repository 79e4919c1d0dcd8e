"""How sizes and durations are read and written."""

import pytest

from leasebox.contract.sizes import duration_text, parse_bytes, parse_seconds, quantity_text, size_text


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (1536, "1.5 KiB"),
        (5 << 20, "5 MiB"),
        (512 << 20, "512 MiB"),
        (3 << 30, "3 GiB"),
        (2**70, "1024 EiB"),
    ],
)
def test_sizes_for_people(size: int, text: str):
    assert size_text(size) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.5, "0.5 seconds"),
        (1, "1 second"),
        (90, "90 seconds"),
        (1800, "30 minutes"),
        (86400, "1 day"),
    ],
)
def test_durations_for_people(seconds: float, text: str):
    assert duration_text(seconds) == text


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [("memory_bytes", 3 << 60, "3 EiB"), ("timeout_s", 60.0, "1 minute"), ("cpus", 2.5, "2.5")],
)
def test_a_bound_has_the_unit_that_its_name_carries(name: str, value: float, text: str):
    assert quantity_text(name, value) == text


@pytest.mark.parametrize("text", ["9" * 400, "9223372036854775808", "8589934592GiB"])
def test_a_size_that_no_machine_has_is_none(text: str):
    with pytest.raises(ValueError, match="below 8 EiB"):
        parse_bytes(text)


def test_a_number_without_end_is_no_duration():
    with pytest.raises(ValueError, match="too long"):
        parse_seconds("9" * 400)
