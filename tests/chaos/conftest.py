"""Which round is played? `make chaos ARGS='--seed 7 --jobs 1000 --faults 36 --retries 2'`; no seed: a new one."""

import random
from dataclasses import dataclass

import pytest


@dataclass(frozen=True)
class Wanted:
    """What the command line asks for; None where it says nothing."""

    seed: int
    jobs: int | None
    faults: int | None
    retries: int | None
    engine_too: bool

    def again(self, name: str) -> str:
        """The command that plays the round of a test again."""
        given = {"seed": self.seed, "jobs": self.jobs, "faults": self.faults, "retries": self.retries}
        options = " ".join(f"--{option} {value}" for option, value in given.items() if value is not None)
        return f"make chaos ARGS='-k {name} {options}{' --engine' if self.engine_too else ''}'"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options of `make chaos`; pytest knows them where this folder is named on its command line."""
    group = parser.getgroup("chaos")
    group.addoption("--seed", type=int, help="play this round again")
    group.addoption("--jobs", type=int, help="how many jobs a round has")
    group.addoption("--faults", type=int, help="how many faults a round has")
    group.addoption("--retries", type=int, help="of every job")
    group.addoption("--engine", action="store_true", help="also kill and restart this machine's Docker engine")


@pytest.fixture
def wanted(request: pytest.FixtureRequest) -> Wanted:
    """What the command line asks for."""
    option = request.config.getoption
    seed = option("--seed", None)
    return Wanted(
        seed=random.SystemRandom().randrange(1_000_000) if seed is None else seed,
        jobs=option("--jobs", None),
        faults=option("--faults", None),
        retries=option("--retries", None),
        engine_too=bool(option("--engine", False)),
    )
