"""Which images does an installation have, which are stale, and how is one built?

An image carries the digest of its recipe as a label; it is rebuilt only when that changes. One that stands on another
image of ours says so in its Dockerfile (`ARG BASE=leasebox/python`) and changes with that one.
On the command line: `leasebox-worker images`.
"""

import argparse
import io
import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

import docker.errors
from docker import APIClient
from docker.utils import kwargs_from_env

from leasebox.contract.errors import ImageMissing, LeaseboxError
from leasebox_images.bootstrap import BASE, base_digest, can_bootstrap, make_base
from leasebox_images.context import build_context
from leasebox_images.digest import folder_digest

LABEL_DIGEST = "leasebox.digest"
PREFIX = "leasebox/"
REGISTRY_BASE = "debian:bookworm-slim"

_FOLDER = Path(__file__).parent
_BUILD_TIMEOUT_S = 1800
_OUR_BASE = re.compile(r"^ARG BASE=leasebox/(\S+)$", re.MULTILINE)


@dataclass(frozen=True)
class ImageState:
    """One image that Leasebox can build: present in the engine, and made from today's recipe?"""

    name: str
    reference: str
    digest: str
    present: bool
    fresh: bool


class ImageBuilder:
    """Builds the images of this package in one engine."""

    def __init__(self, docker_host: str | None = None, base: str | None = None) -> None:
        """Connects to nothing yet.

        Args:
            docker_host: None = DOCKER_HOST, else the local socket.
            base: Image that those build on which stand on no other of ours; None = our own base where this machine
                can make one, else Debian's from a registry.
        """
        host = docker_host or kwargs_from_env().get("base_url")
        self._api = APIClient(base_url=host, version="1.41", timeout=_BUILD_TIMEOUT_S)
        self._makes_base = base is None and can_bootstrap()
        self._base = base or (BASE if self._makes_base else REGISTRY_BASE)

    def states(self) -> list[ImageState]:
        """The state of every image that can be built, by name."""
        return [self._state(name) for name in image_names()]

    def state(self, name: str) -> ImageState:
        """The state of one that can be built.

        Raises:
            ImageMissing: There is no such recipe, or the engine does not answer.
        """
        return self._state(name)

    def has(self, reference: str) -> bool:
        """Whether the engine has an image, of whomever.

        Raises:
            ImageMissing: The engine does not answer.
        """
        return self._digest_of(reference) is not None

    def check(self, names: Sequence[str]) -> list[ImageState]:
        """Those of `names` (all if empty) that are missing or stale."""
        return [state for state in self.states() if not state.fresh and (not names or state.name in names)]

    def build(self, name: str, *, force: bool = False) -> ImageState:
        """Build one image, and first the one that it stands on, unless they are fresh.

        The image that had the name before is removed, unless a container or another image still needs it.

        Args:
            force: Build this one all the same.

        Raises:
            ImageMissing: There is no such recipe, or its build failed.
        """
        state = self._state(name)
        if state.fresh and not force:
            return state
        parent = parent_of(name)
        if parent is not None:
            self.build(parent)
        with _build_errors(name):
            if parent is None and self._makes_base:
                self._ensure_base()
            before = self._id_of(state.reference)
            self._build(state, self._base if parent is None else PREFIX + parent)
            self._drop_superseded(state.reference, before)
        return self._state(name)

    def close(self) -> None:
        """Let go of the engine."""
        self._api.close()

    def _state(self, name: str) -> ImageState:
        if name not in image_names():
            raise ImageMissing(f"there is no recipe {name!r}", hint=f"known: {', '.join(image_names())}")
        digest = folder_digest(_FOLDER / name, self._digest_below(name))
        found = self._digest_of(PREFIX + name)
        return ImageState(name, PREFIX + name, digest, present=found is not None, fresh=found == digest)

    def _digest_below(self, name: str) -> str:
        """Names what an image stands on."""
        parent = parent_of(name)
        if parent is not None:
            return self._state(parent).digest
        return base_digest() if self._makes_base else self._base

    def _digest_of(self, reference: str) -> str | None:
        """The label; "" for an image without one; None for no image."""
        with _build_errors(reference):
            try:
                found = self._api.inspect_image(reference)  # type: ignore[no-untyped-call]
            except docker.errors.ImageNotFound:
                return None
        return str((found["Config"].get("Labels") or {}).get(LABEL_DIGEST, ""))

    def _id_of(self, reference: str) -> str | None:
        try:
            return str(self._api.inspect_image(reference)["Id"])  # type: ignore[no-untyped-call]
        except docker.errors.ImageNotFound:
            return None

    def _drop_superseded(self, reference: str, before: str | None) -> None:
        if before is None or before == self._id_of(reference):
            return
        try:
            self._api.remove_image(before)
        except docker.errors.ImageNotFound:
            return
        except docker.errors.APIError as exc:
            if exc.status_code != HTTPStatus.CONFLICT:
                raise

    def _ensure_base(self) -> None:
        if self._digest_of(BASE) == base_digest():
            return
        with tempfile.TemporaryDirectory(prefix="leasebox-base-") as folder:
            tar = Path(folder) / "base.tar"
            make_base(tar)
            changes = ["ENV PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", f"LABEL {LABEL_DIGEST}={base_digest()}"]
            self._api.import_image_from_file(str(tar), repository=BASE, tag="latest", changes=changes)

    def _build(self, state: ImageState, base: str) -> None:
        """By the engine's classic builder: BuildKit would need a registry for its own front end."""
        lines = self._api.build(
            fileobj=io.BytesIO(build_context(_FOLDER / state.name)),
            custom_context=True,
            tag=state.reference,
            buildargs={"BASE": base},
            labels={LABEL_DIGEST: state.digest},
            network_mode="host",
            rm=True,
            forcerm=True,
            decode=True,
        )
        said: list[str] = []
        for line in lines:
            said.append(str(line.get("stream", "")))
            if "error" in line:
                raise ImageMissing(f"building {state.reference}: {line['error']}\n{''.join(said)[-2000:]}")


def parent_of(name: str) -> str | None:
    """The image of ours that this one stands on; None for one that stands on any Debian."""
    found = _OUR_BASE.search((_FOLDER / name / "Dockerfile").read_text())
    return found[1] if found else None


def image_names() -> list[str]:
    """Every folder with a Dockerfile."""
    return sorted(path.parent.name for path in _FOLDER.glob("*/Dockerfile"))


def main(arguments: Sequence[str] | None = None) -> int:
    """`build [NAME...]`, `list`, `check [NAME...]`; `check` answers 1 when something is missing or stale."""
    parser = argparse.ArgumentParser(prog="leasebox-worker images")
    parser.add_argument("verb", choices=("build", "list", "check"))
    parser.add_argument("names", nargs="*")
    parser.add_argument("--base", help="image to build on")
    parser.add_argument("--force", action="store_true", help="build also what is fresh")
    options = parser.parse_args(arguments)
    builder = ImageBuilder(base=options.base)
    try:
        return _run(builder, options.verb, options.names, force=options.force)
    except LeaseboxError as exc:
        sys.stderr.write(f"{exc}\n")
        return 1
    finally:
        builder.close()


def _run(builder: ImageBuilder, verb: str, names: Sequence[str], *, force: bool) -> int:
    match verb:
        case "build":
            states = [builder.build(name, force=force) for name in names or image_names()]
        case "list":
            states = builder.states()
        case _:
            states = builder.check(names)
    for state in states:
        how = "fresh" if state.fresh else "stale" if state.present else "missing"
        sys.stdout.write(f"{state.reference}\t{how}\t{state.digest[:12]}\n")
    return 1 if verb == "check" and states else 0


@contextmanager
def _build_errors(subject: str) -> Iterator[None]:
    try:
        yield
    except docker.errors.DockerException as exc:
        raise ImageMissing(f"the engine refused {subject}: {exc}", hint="is dockerd running?") from exc


if __name__ == "__main__":
    raise SystemExit(main())
