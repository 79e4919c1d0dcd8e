"""What the host has mounted for a sandbox goes again, whatever of it cannot."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from leasebox_worker.drivers import tmpfs
from leasebox_worker.drivers.conformance import LIMITS
from leasebox_worker.drivers.hardening import writable

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount: run the tests with sudo")


@pytest.fixture
def thread():
    """A thread that takes what is mounted on it along when it ends."""
    with ThreadPoolExecutor(max_workers=1) as made:
        made.submit(tmpfs.leave_the_hosts_table).result()
        yield made


def test_a_target_that_cannot_be_unmounted_leaves_no_other_mounted(thread, tmp_path):
    first, *others = targets = [tmp_path / name for name in "abc"]
    for place, target in zip(writable(LIMITS), targets, strict=True):
        thread.submit(tmpfs.mount, place, target, 10_001).result()
    assert thread.submit(lambda: [target.is_mount() for target in targets]).result() == [True, True, True]

    with pytest.raises(NotADirectoryError):
        thread.submit(tmpfs.unmount, [first, Path(__file__) / "below a file", *others]).result()
    assert thread.submit(lambda: [target.is_mount() for target in targets]).result() == [False, False, False]


def test_what_is_no_mount_or_nothing_at_all_needs_no_unmounting(tmp_path):
    tmpfs.unmount([tmp_path, tmp_path / "nothing"])
