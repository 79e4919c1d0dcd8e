"""What each profile has of the languages is asked of a real sandbox, with each driver."""

import shutil
from dataclasses import replace
from typing import Any

import pytest

from leasebox_worker.engine.languages import survey
from leasebox_worker.policy.languages import Found
from leasebox_worker.policy.profiles import Profile

PROFILES = {"a": Profile("a"), "b": Profile("b", languages=("python",))}


@pytest.mark.slow
@pytest.mark.parametrize("which", ["driver", "docker_driver"])
def test_a_sandbox_says_what_its_programs_are_and_is_gone(
    request: pytest.FixtureRequest, placement: Any, which: str
) -> None:
    driver = request.getfixturevalue(which)
    before = len(driver.list())
    found = survey(driver, placement.agent_dir, PROFILES)

    assert set(found) == {"a", "b"}
    assert found["a"] is found["b"]  # one image, one question
    assert {"python", "bash", "perl"} <= set(found["a"])
    assert all(isinstance(language, Found) and language.version[0].isdigit() for language in found["a"].values())
    assert found["a"]["python"].version.startswith("3.")
    assert len(driver.list()) == before


@pytest.mark.slow
def test_what_the_host_has_under_usr_is_what_bubblewrap_has(driver: Any, placement: Any) -> None:
    found = survey(driver, placement.agent_dir, PROFILES)["a"]

    for language, program in {"c": "gcc", "ruby": "ruby", "go": "go", "php": "php"}.items():
        there = shutil.which(program, path="/usr/local/bin:/usr/bin:/bin") is not None
        assert (language in found) == there


@pytest.mark.slow
def test_of_an_image_that_is_not_there_nobody_knows_and_the_others_are_asked(
    docker_driver: Any, placement: Any
) -> None:
    profiles = {**PROFILES, "gone": replace(PROFILES["a"], name="gone", image="leasebox/never-built")}

    assert set(survey(docker_driver, placement.agent_dir, profiles)) == {"a", "b"}
