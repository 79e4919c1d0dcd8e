"""Pages that are made from definitions say what the definitions say."""

import re
import subprocess
import sys
from pathlib import Path

from leasebox.cli.ending import STATUS
from leasebox.contract.result import Outcome

ROOT = Path(__file__).parents[1]


def test_the_page_of_settings_is_current() -> None:
    checked = subprocess.run(
        [sys.executable, str(ROOT / "ops" / "dev" / "settings_page.py"), "--check"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert checked.returncode == 0, f"{checked.stderr} Run ops/dev/settings_page.py."


def test_the_pages_of_commands_errors_events_and_routes_are_current() -> None:
    checked = subprocess.run(
        [sys.executable, str(ROOT / "ops" / "dev" / "reference_pages.py"), "--check"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert checked.returncode == 0, f"{checked.stderr} Run ops/dev/reference_pages.py."


def test_the_page_of_exit_statuses_has_each_outcome_with_its_own() -> None:
    page = (ROOT / "docs" / "reference" / "exit-status.md").read_text()
    rows = re.findall(r"^\| (\S.*?) \| (`.*?`) \|", page, re.MULTILINE)
    told = {outcome: status for status, outcomes in rows for outcome in re.findall(r"`(\w+)`", outcomes)}

    assert set(told) == set(Outcome)
    assert {outcome: told[outcome] for outcome in STATUS if outcome is not Outcome.OK} == {
        outcome: str(status) for outcome, status in STATUS.items() if outcome is not Outcome.OK
    }


def test_the_site_lists_each_page_that_is_there_and_no_other() -> None:
    listed = re.findall(r"^ +- .+: (\S+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)
    pages = {page.relative_to(ROOT / "docs").as_posix() for page in (ROOT / "docs").rglob("*.md")}

    # Decisions have a list of their own.
    assert set(listed) == {page for page in pages if not re.search(r"decisions/\d", page)}


def test_each_command_of_the_page_of_promises_names_tests() -> None:
    page = (ROOT / "docs" / "explanation" / "delivery.md").read_text()
    commands = re.findall(r"\| `(tests/\S+\.py)(?: -k \"?([^`\"]+)\"?)?` \|", page)
    assert len(commands) >= 15

    for path, words in commands:
        names = re.findall(r"^def (test_\w+)", (ROOT / path).read_text(), re.MULTILINE)
        for word in words.split(" or ") if words else [""]:
            assert any(word in name for name in names), f"{path} has no {word}"
