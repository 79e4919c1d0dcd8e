"""Does every alert say what an operator needs, and is there a case in which it fires and one in which it does not?"""

import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PROMETHEUS = ROOT / "ops" / "prometheus"
RUNBOOK = ROOT / "docs" / "how-to" / "runbook.md"
CASES = yaml.safe_load((PROMETHEUS / "rule_tests" / "leasebox.yml").read_text())["tests"]
ALERTS = {
    rule["alert"]: rule
    for file in sorted((PROMETHEUS / "rules").glob("*.yml"))
    for group in yaml.safe_load(file.read_text())["groups"]
    for rule in group["rules"]
}


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_has_a_severity_two_texts_and_an_entry_of_the_runbook(name: str) -> None:
    rule: dict[str, Any] = ALERTS[name]
    url, _, anchor = rule["annotations"]["runbook_url"].partition("#")

    assert rule["labels"]["severity"] in ("critical", "warning")
    assert all(rule["annotations"][text].strip() for text in ("summary", "description"))
    assert (url.rstrip("/").rsplit("/", 1)[-1], anchor) == (RUNBOOK.stem, name.lower())
    assert f"### {name}\n" in RUNBOOK.read_text()


def test_the_runbook_has_an_entry_for_each_alert_and_for_nothing_else() -> None:
    assert set(re.findall(r"^### (\w+)$", RUNBOOK.read_text(), re.MULTILINE)) == set(ALERTS)


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_has_a_case_in_which_it_fires_and_one_in_which_it_is_silent(name: str) -> None:
    expected = [
        bool(test["exp_samples"])
        for case in CASES
        for test in case["promql_expr_test"]
        if f'alertname="{name}", alertstate="firing"' in test["expr"]
    ]

    assert set(expected) == {True, False}


@pytest.mark.long
@pytest.mark.parametrize(
    "words",
    [
        ("check", "config", "prometheus.yml"),
        ("check", "rules", "rules/leasebox.yml"),
        ("test", "rules", "rule_tests/leasebox.yml"),
    ],
    ids=" ".join,
)
def test_promtool_finds_no_fault(program: Callable[[str, str], Path], words: tuple[str, ...]) -> None:
    command = [str(program("promtool", "prometheus")), *words]
    done = subprocess.run(command, cwd=PROMETHEUS, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
