"""What do tests of webhooks stand on? Receivers, and a resolver that is a book of names."""

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.worker.webhooks.receiver import Receiver, receiving

from leasebox_worker.webhooks.post import Ways

KEY = bytes(range(32))


@dataclass
class Book:
    """Which addresses names have, and what was asked for."""

    names: dict[str, list[str]] = field(default_factory=lambda: {"hooks.test": ["127.0.0.1"]})
    asked: list[str] = field(default_factory=list)
    own: set[str] = field(default_factory=set)

    async def _resolve(self, name: str) -> list[str]:
        self.asked.append(name)
        if name not in self.names:
            raise OSError("no such name")
        return self.names[name]

    @property
    def ways(self) -> Ways:
        """By this book."""
        return Ways(self._resolve, lambda address: address in self.own)


@pytest.fixture
def book() -> Book:
    """`hooks.test` is 127.0.0.1."""
    return Book()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A receiver by plain http."""
    with receiving() as made:
        yield made


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of hooks.test, by itself; with its key."""
    folder = tmp_path_factory.mktemp("tls")
    command = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout s.key -out s.pem -days 30"
        " -subj /CN=hooks.test -addext subjectAltName=DNS:hooks.test && cat s.key >> s.pem"
    )
    subprocess.run(["sh", "-ec", command], cwd=folder, check=True, capture_output=True)
    return folder / "s.pem"
