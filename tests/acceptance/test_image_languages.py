"""Does each image run every language that it really has, whoever says so?"""

from collections.abc import Iterator

import pytest
from tests.acceptance.conftest import Live, system_with_image
from tests.acceptance.test_languages import assert_does_it_all, outcomes
from tests.conftest import DockerEngine

pytestmark = [pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(900)]
PROGRAMS = {
    "python": "python3",
    "bash": "bash",
    "javascript": "node",
    "c": "gcc",
    "cpp": "g++",
    "go": "go",
    "rust": "rustc",
    "java": "javac",
    "ruby": "ruby",
    "php": "php",
    "perl": "perl",
}
"""Whoever has the program has the language."""


@pytest.fixture(scope="module", params=["python", "data", "node"])
def image(request: pytest.FixtureRequest) -> str:
    """The name of one that `leasebox-worker images build` makes."""
    return str(request.param)


@pytest.fixture(scope="module")
def system(docker_engine: DockerEngine, image: str) -> Iterator[Live]:
    """One with a profile for the image."""
    with system_with_image(docker_engine, image) as live:
        yield live


def test_every_language_that_an_image_has_is_told_and_does_what_every_language_does(
    docker_engine: DockerEngine, image: str, system: Live
) -> None:
    names = " ".join(PROGRAMS.values())
    look = f'for name in {names}; do command -v "$name" > /dev/null && echo "$name"; done; true'
    there = docker_engine.client.containers.run(
        f"leasebox/{image}",
        ["-c", look],
        entrypoint="/bin/sh",
        remove=True,
        network_disabled=True,
        labels=dict(docker_engine.labels),
    )
    with system.client() as client:
        versions: dict[str, str] = client.profiles()[image].published["runtimes"]

        assert {name for name, program in PROGRAMS.items() if program in there.decode().split()} <= set(versions)
        for language, version in versions.items():
            assert_does_it_all(outcomes(client, language, image), version)
