"""Whose name it is before anything of an older process is touched; the same rule as script adopt's."""

from collections.abc import Callable
from typing import Any

import pytest

from leasebox.contract.errors import ConfigError
from leasebox_worker.lifecycle.name import taken_for_s, wait_until_free


@pytest.mark.parametrize(
    ("fields", "machine_id", "is_free"),
    [
        ({}, "m", True),
        ({}, "other", False),
        ({"dead": "1"}, "other", True),
        ({"seen_at": "1"}, "other", True),
        ({"incarnation": ""}, "other", True),
    ],
    ids=["same place", "alive elsewhere", "reclaimed", "silent", "never registered"],
)
def test_a_name_is_free_where_adopt_would_give_it(
    worker_node: Any, new_node: Callable[[str, str], Any], fields: dict[str, str], machine_id: str, is_free: bool
) -> None:
    if fields:
        worker_node.redis.hset(worker_node.keys.node("n"), mapping=fields)
    taken_s = taken_for_s(worker_node.redis, worker_node.keys, "n", machine_id=machine_id, reclaim_s=15.0)

    assert (taken_s == 0.0) == is_free
    if is_free and machine_id == "other" and "incarnation" not in fields:
        new_node("n", "n-2").adopt(has_proof=False)


def test_a_name_that_stays_taken_is_an_error_of_the_settings(worker_node: Any) -> None:
    with pytest.raises(ConfigError, match="in use"):
        wait_until_free(worker_node.redis, worker_node.keys, "n", machine_id="x", reclaim_s=15.0, wait_s=0.0)
