"""Every driver keeps every rule of the suite that its promise of isolation covers."""

import pytest

from leasebox_worker.drivers.conformance import FULL_RULES, ISOLATION_RULES, RULES, Bench

WEAK = ("process_driver",)
PARTIAL = ("bubblewrap_r1",)
FULL = ("docker_driver", "bubblewrap_r2")

# A plain process has no workspace of its own size, only RLIMIT_FSIZE per file; the rule accepts both.
CASES = [
    *((name, rule) for name in WEAK + PARTIAL + FULL for rule in RULES),
    *((name, rule) for name in PARTIAL + FULL for rule in ISOLATION_RULES),
    *((name, rule) for name in FULL for rule in FULL_RULES),
]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("bench", "rule"), CASES, indirect=["bench"], ids=[f"{name}-{rule.__name__}" for name, rule in CASES]
)
def test_driver_keeps_the_rule(bench: Bench, rule):
    rule(bench)
