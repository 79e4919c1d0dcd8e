"""Which languages does each profile have on this node? A probe sandbox of its image is asked, once, at the start."""

import json
import uuid
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import structlog

from leasebox.contract.errors import GuestProtocolError, LeaseboxError
from leasebox_worker.drivers.base import Driver
from leasebox_worker.drivers.verify import probe_request
from leasebox_worker.engine import language_probe
from leasebox_worker.guestlink.link import GuestLink
from leasebox_worker.guestlink.orders import Exec
from leasebox_worker.policy.admit import BASE_ENV
from leasebox_worker.policy.languages import Toolbox, questions, toolbox_of
from leasebox_worker.policy.profiles import Profile

log = structlog.get_logger()

READY_WITHIN_S = 20.0
ANSWER_WITHIN_S = 60.0
AT_ONCE = 2
_CODE = Path(language_probe.__file__).read_bytes()


def survey(driver: Driver, agent_dir: Path, profiles: Mapping[str, Profile]) -> dict[str, Toolbox]:
    """What each profile has; one is left out if no sandbox of its image starts: then nobody knows."""
    images = sorted({_place(driver, profile) for profile in profiles.values()})
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="survey") as pool:
        found = dict(zip(images, pool.map(lambda image: _look(driver, agent_dir, image), images), strict=True))
    seen = {name: found[_place(driver, profile)] for name, profile in profiles.items()}
    return {name: toolbox for name, toolbox in seen.items() if toolbox is not None}


def _place(driver: Driver, profile: Profile) -> str:
    """What its programs come from: an image, a folder, or else this host."""
    return profile.image if driver.name == "docker" or profile.image.startswith("/") else ""


def _look(driver: Driver, agent_dir: Path, image: str) -> Toolbox | None:
    try:
        handle, channel = driver.create(probe_request(driver.name, agent_dir, image))
        link = GuestLink(channel)
        try:
            link.open(READY_WITHIN_S)
            found = toolbox_of(_answers(link, handle.workspace))
        finally:
            link.close()
            driver.kill(handle)
    except LeaseboxError as exc:
        log.warning("languages_unknown", image=image, reason=str(exc))
        return None
    log.info("languages_found", image=image, versions={name: language.version for name, language in found.items()})
    return found


def _answers(link: GuestLink, workspace: str) -> dict[str, str]:
    request = Exec(
        id=f"survey-{uuid.uuid4().hex[:12]}/python",
        kind="python",
        argv=("main.py",),
        code_bytes=len(_CODE),
        code_path="main.py",
        cwd=workspace,
        env={"HOME": workspace} | BASE_ENV,
        wall_s=ANSWER_WITHIN_S,
        cpu_s=None,
        silence_s=None,
        stream_bytes=1 << 20,
        line_buffered=True,
        cancel_grace_s=0.0,
    )
    asked = json.dumps(questions()).encode()
    exited, stdout, stderr = link.run(request, _CODE, (asked,), within_s=ANSWER_WITHIN_S + 1.0)
    try:
        said = json.loads(stdout)
        return {str(name): str(text) for name, text in said.items()}
    except (ValueError, AttributeError, RecursionError) as exc:
        told = stderr[-300:].decode(errors="replace")
        raise GuestProtocolError(f"the survey of languages ended {exited.code}: {told}") from exc
