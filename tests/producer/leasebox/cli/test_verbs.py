"""What a newcomer reads first: the lists of verbs, and the version."""

import re
import subprocess
import sys

import pytest

import leasebox
from leasebox.cli.app import app
from leasebox.cli.verbs import Verbs

pytestmark = pytest.mark.slow


def typed(*words: str, **env: str) -> str:
    """What `leasebox ...` prints, here where nothing is configured."""
    given = {"PATH": "/usr/bin:/bin", "HOME": "/nowhere", **env}
    done = subprocess.run(
        [sys.executable, "-m", "leasebox.cli", *words],
        env=given, capture_output=True, text=True, timeout=30, check=True,
    )  # fmt: skip
    return done.stdout


def test_help_lists_the_verbs_by_use_and_in_groups():
    listed = typed("--help")

    order = re.findall(r"^  (\w+)  +\w", listed, re.MULTILINE)
    assert order[:2] == ["run", "submit"]
    assert order.index("sessions") < order.index("profiles") < order.index("doctor")
    assert [listed.index(heading) for heading in ("\nRun:", "\nFollow:", "\nSet up:")] == sorted(
        listed.index(heading) for heading in ("\nRun:", "\nFollow:", "\nSet up:")
    )
    assert set(order) == {command.name for command in app.registered_commands} - {None} | {
        group.name for group in app.registered_groups
    } | {command.callback.__name__ for command in app.registered_commands if command.name is None and command.callback}


@pytest.mark.parametrize("words", [(), ("files",), ("sessions",), ("profiles",), ("keys",), ("batch",)])
def test_help_cuts_no_sentence(words: tuple[str, ...]):
    listed = typed(*words, "--help")

    assert "..." not in listed.replace("[ARGS]...", "")
    assert "…" not in listed


def test_a_verb_that_no_group_has_is_still_listed():
    verbs = Verbs(commands={"run": Verbs(), "novel": Verbs()})

    assert dict(verbs.groups())["More"] == ["novel"]


def test_the_version_is_an_option_too():
    assert typed("--version") == typed("version") == f"{leasebox.__version__}\n"


def test_a_shell_completes_verbs():
    asked = {"_LEASEBOX_COMPLETE": "complete_bash", "COMP_WORDS": "leasebox sess", "COMP_CWORD": "1"}

    assert typed(**asked) == "sessions\n"
