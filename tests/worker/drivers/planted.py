"""How is a protection switched off for a test? By drivers that ask the engine or bwrap for something else."""

from collections.abc import Callable, Mapping
from dataclasses import replace

from leasebox_worker.drivers.base import DriverSettings, SandboxRequest
from leasebox_worker.drivers.bubblewrap import BubblewrapDriver
from leasebox_worker.drivers.bubblewrap_arguments import Mode
from leasebox_worker.drivers.docker import DockerDriver
from leasebox_worker.drivers.spawn import Launch

Config = dict[str, object]
Words = Callable[[Launch], Launch]


class PlantedDocker(DockerDriver):
    """Asks the engine for something else than the settings say."""

    def __init__(self, settings: DriverSettings, plant: Callable[[Config], object]) -> None:
        super().__init__(settings)
        self._plant = plant

    def _body(self, request: SandboxRequest) -> Config:
        body = super()._body(request)
        self._plant(body)
        return body


class PlantedBubblewrap(BubblewrapDriver):
    """Runs bwrap with other words than the settings say."""

    def __init__(self, settings: DriverSettings, plant: Words, mode: Mode = Mode.ROOT) -> None:
        super().__init__(settings, mode)
        self._plant = plant

    def _launch(self, *arguments, **named) -> Launch:
        return self._plant(super()._launch(*arguments, **named))


def host_config(change: Callable[[Config], object]) -> Callable[[Config], object]:
    """A plant of the part that the engine applies from outside."""
    return lambda body: change(body["HostConfig"])


def settings_of(**values: object) -> Callable[[Config], object]:
    """A plant that sets these fields of the engine's host configuration."""
    return host_config(lambda config: config.update(values))


def without_option(start: str) -> Callable[[Config], object]:
    """A plant that leaves out a security option."""

    def change(config: Config) -> None:
        config["SecurityOpt"] = [option for option in config["SecurityOpt"] if not option.startswith(start)]

    return host_config(change)


def replaced_words(words: Mapping[str, str]) -> Words:
    """A plant that says some words of the command line otherwise."""
    return lambda launch: replace(launch, command=[words.get(word, word) for word in launch.command])


def without_words(first: str, count: int, *, second: str | None = None) -> Words:
    """A plant that leaves out `count` words from `first` on; where `second` is given, only before it."""

    def plant(launch: Launch) -> Launch:
        words = list(launch.command)
        at = next(n for n, word in enumerate(words) if word == first and second in (None, words[n + 1]))
        return replace(launch, command=[*words[:at], *words[at + count :]])

    return plant


def with_words(*words: str, before: str) -> Words:
    """A plant that adds words before one of the command line."""

    def plant(launch: Launch) -> Launch:
        at = list(launch.command).index(before)
        return replace(launch, command=[*launch.command[:at], *words, *launch.command[at:]])

    return plant
