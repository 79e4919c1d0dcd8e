"""Each language, by a program of its own, on a live system with each driver: what it gets and gives, how it ends."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.acceptance.conftest import DOORS, Live

from leasebox.cli.request import LANGUAGE_OF
from leasebox.client import Client
from leasebox.contract import errors
from leasebox.contract.result import Outcome, Result
from leasebox.contract.spec import LANGUAGES

pytestmark = pytest.mark.slow
WAIT_S = 120.0
PROGRAMS = {
    LANGUAGE_OF[path.suffix]: path.read_text()
    for path in sorted((Path(__file__).parents[1] / "languages").iterdir())
    if path.stem.lower() == "conformance"
}
LIMITS = {"timeout_s": 60}


def present(client: Client) -> dict[str, str]:
    """The versions of what the default profile has."""
    found: dict[str, str] = client.profiles()["default"].published["runtimes"]
    return found


def expected_at_least(driver: str) -> set[str]:
    """What every image and host has, and what this host's own programs say."""
    on_host = {"c": "gcc", "cpp": "g++", "javascript": "node"} if driver == "bubblewrap" else {}
    found = {name for name, program in on_host.items() if (shutil.which(program) or "").startswith("/usr/")}
    return {"python", "bash", "perl", *found}


def outcomes(client: Client, language: str, profile: str | None = None) -> dict[str, Result]:
    """The program in each of its modes."""
    given: dict[str, dict[str, Any]] = {
        "talk": {"args": ["talk", "a b", "ö", "", "-x", "$HOME"], "stdin": "eins\nzwei ä\n"},
        "exit": {},
        "crash": {},
        "spin": {"limits": {**LIMITS, "cpu_s": 1.0}},
    }
    with client.session(stateful=False, profile=profile) as box:
        handles = {
            mode: box.submit(PROGRAMS[language], language=language, **{"args": [mode], "limits": LIMITS, **spec})
            for mode, spec in given.items()
        }
        return {mode: handle.result(WAIT_S) for mode, handle in handles.items()}


def test_every_language_has_a_program() -> None:
    assert set(PROGRAMS) == set(LANGUAGES)


@pytest.mark.timeout(300)  # compilers on a busy machine
@pytest.mark.parametrize("language", LANGUAGES)
def test_a_language_does_what_every_language_does(live: Live, client: Client, language: str) -> None:
    versions = present(client)
    if language not in versions:
        assert language not in expected_at_least(live.driver)
        with pytest.raises(errors.InvalidSpec, match=rf"{language}.*python"):
            client.submit("x", language=language)
        return

    assert_does_it_all(outcomes(client, language), versions[language])


def assert_does_it_all(found: dict[str, Result], version: str) -> None:
    """What every language does."""
    assert (found["talk"].outcome, found["talk"].stderr) == (Outcome.OK, ""), found["talk"]
    assert found["talk"].stdout == "héllo 世界 🦊\n[a b][ö][][-x][$HOME]\ngot eins\nzwei ä\n"
    assert (found["exit"].outcome, found["exit"].exit_code, found["exit"].stderr) == (Outcome.ERROR, 7, "bye\n")
    assert found["crash"].outcome in (Outcome.ERROR, Outcome.KILLED), found["crash"]
    assert (found["spin"].outcome, found["spin"].limit) == (Outcome.TIMEOUT, "cpu"), found["spin"]
    assert {result.runtime for result in found.values()} == {version}


def leasebox(live: Live, *words: str) -> "subprocess.CompletedProcess[str]":
    """Type a command."""
    command = [sys.executable, "-m", "leasebox.cli", *words]
    return subprocess.run(command, env=live.environment(), capture_output=True, text=True, check=False, timeout=60)


@DOORS
def test_the_ending_of_a_file_chooses_its_language_and_lang_goes_before_it(live: Live, tmp_path: Path) -> None:
    program = tmp_path / "hello.pl"
    program.write_text("echo 'say q'")
    by_ending = leasebox(live, "run", "-q", str(program))
    by_option = leasebox(live, "run", "-q", "--lang", "bash", str(program))

    assert by_ending.returncode != 0
    assert "main.pl line 1" in by_ending.stderr
    assert by_option.stdout == "say q\n"
    assert ".pl perl" in " ".join(leasebox(live, "run", "--help").stdout.split())


def test_a_build_that_fails_is_told_with_the_compilers_words(live: Live, client: Client, tmp_path: Path) -> None:
    program = tmp_path / "hello.c"
    program.write_text("int main(void) { return missing; }")
    told = leasebox(live, "run", str(program))
    if "c" not in present(client):
        assert (told.returncode, told.stdout) == (125, "")
        assert "'c' is not among python, bash, perl" in told.stderr
        return

    assert (told.returncode, told.stdout) == (1, "")
    assert "main.c:1:25: error: " in told.stderr
    assert told.stderr.splitlines()[-1].startswith("leasebox: error: the build failed: exited with 1, queued")
    result = client.run(program.read_text(), language="c", wait_s=WAIT_S)
    assert result.error is not None
    assert (result.outcome, result.error.name) == (Outcome.ERROR, "BuildFailed")
    with pytest.raises(errors.NonZeroExit, match="the build failed"):
        result.raise_for_outcome()


def test_profiles_tell_the_languages_with_their_versions(live: Live, client: Client) -> None:
    listed = json.loads(leasebox(live, "profiles", "list", "--json").stdout)
    shown = leasebox(live, "profiles", "show", "default").stdout

    found = next(profile for profile in listed if profile["name"] == "default")
    assert found["languages"] == list(found["runtimes"])
    assert f"perl {found['runtimes']['perl']}" in shown


@pytest.mark.parametrize("name", ["app.mjs", "app.cjs"])
def test_an_ending_that_javascript_goes_by_stays(live: Live, client: Client, tmp_path: Path, name: str) -> None:
    program = tmp_path / name
    program.write_text(
        "import fs from 'fs';\nconsole.log(1);" if name.endswith("mjs") else "console.log(1);require('fs')"
    )
    (tmp_path / "f").write_text("")
    told = leasebox(live, "run", "-q", "--file", str(tmp_path / "f"), str(program))

    assert told.stdout == ("1\n" if "javascript" in present(client) else ""), told.stderr
