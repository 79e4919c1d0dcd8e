"""Each seccomp profile does on every form of sandbox what its table says: attacked with the same program."""

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.security.conftest import FORMS, leaked, standing

pytestmark = pytest.mark.slow

DEBUG_OPENS = {"ptrace", "process_vm_readv", "process_vm_writev", "kcmp", "personality"}
"""What strace, gdb and LeakSanitizer need; within the sandbox, and not towards the agent."""
STRICT = b"""
import os, socket
def answer(action):
    try:
        action()
    except OSError as exc:
        return exc.errno
    return 0
print(answer(lambda: socket.socket()), answer(lambda: socket.socket(socket.AF_INET6)),
      answer(lambda: os.memfd_create('x')), answer(lambda: os.mkfifo('fifo')), answer(lambda: socket.socketpair()),
      answer(lambda: os.waitpid(os.fork() or os._exit(0), 0)))
"""


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("profile", "opens"), [("debug", DEBUG_OPENS), ("strict", set())])
def test_a_profile_opens_what_it_says_and_no_more(
    request: pytest.FixtureRequest,
    agent_dir: Path,
    image: Callable[[str], str],
    form: str,
    profile: str,
    opens: set[str],
) -> None:
    driver = request.getfixturevalue(form)
    with standing(form, driver, agent_dir, image(form), seccomp=profile) as ground:
        verdicts = ground.verdicts("kernel")

    assert set(leaked(verdicts)) == opens
    assert len(verdicts) == 87


@pytest.mark.parametrize("form", FORMS)
def test_strict_leaves_computing_and_pipes_alone(
    request: pytest.FixtureRequest, agent_dir: Path, image: Callable[[str], str], form: str
) -> None:
    driver = request.getfixturevalue(form)
    with standing(form, driver, agent_dir, image(form), seccomp="strict") as ground:
        ended = ground.guest.run(STRICT, 30.0)

    assert ended.stdout == b"1 1 1 1 0 0\n", ended
