"""The process that waits for the next job: ready early, harmless, replaceable, and gone when nobody comes."""

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from leasebox_guest.frames import Kind
from leasebox_guest.jobs import AT_REST_S
from leasebox_guest.settings import DEFAULT_PRELOAD

JOB_UID = 190_001


def _descendants(pid: int) -> list[int]:
    try:
        children = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []
    return [one for child in children for one in (child, *_descendants(child))]


def _waiting(host: Any) -> list[int]:
    """Processes of the job's uid, seen from the host."""
    found = []
    for pid in _descendants(host._process.pid):
        status = dict(
            line.split(":\t") for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line
        )
        if int(status["Uid"].split()[0]) == JOB_UID:
            found.append(pid)
    return found


@pytest.fixture
def host(spawn: Any) -> Any:
    return spawn("r2")


def test_after_a_job_one_process_waits_with_a_jobs_rights(host: Any, eventually: Any) -> None:
    assert host.run("print(1)").stdout == b"1\n"
    (pid,) = eventually(lambda: _waiting(host))
    status = Path(f"/proc/{pid}/status").read_text()

    assert "CapEff:\t0000000000000000" in status
    assert "NoNewPrivs:\t1" in status
    host.start("import time; time.sleep(9)")
    assert eventually(lambda: _waiting(host) == [pid])


def _began_at(pid: int) -> float:
    """When a process was forked, in seconds since boot (proc(5), stat, field 22)."""
    ticks = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    return int(ticks) / os.sysconf("SC_CLK_TCK")


def test_where_no_job_is_expected_the_next_process_comes_at_rest(host: Any, eventually: Any) -> None:
    def waits() -> list[int]:
        return _waiting(host)

    host.run("pass")
    (used_up,) = eventually(waits)
    sent_at = time.clock_gettime(time.CLOCK_BOOTTIME)
    host.run("pass", more_soon=False)
    (pid,) = eventually(waits)

    assert pid != used_up
    assert _began_at(pid) > sent_at + AT_REST_S - 0.01  # a tick of the clock in /proc


def test_a_sandbox_at_rest_loads_what_programs_are_likely_to_want(spawn: Any, eventually: Any) -> None:
    looks = "import sys; print('dataclasses' in sys.modules, 'datetime' in sys.modules, 'textwrap' in sys.modules)"
    host = spawn("r2")
    assert host.expect(Kind.READY)["preloaded"] == []
    eventually(lambda: _waiting(host), within_s=60.0)  # which comes last, and later where processors are short

    assert host.run(looks).stdout == b"True True True\n"


def test_a_sandbox_at_rest_reads_no_module_of_a_jobs_own(spawn: Any, eventually: Any) -> None:
    """Whatever PID 1 loads runs with its rights."""
    plants = f"for name in {DEFAULT_PRELOAD.replace(',', ' ')}; do echo 'planted = True' >$name.py; done"
    host = spawn("r2", before=plants)
    host.expect(Kind.READY)
    (waiting,) = eventually(lambda: _waiting(host), within_s=60.0)
    planted = {path.name: path.stat() for path in Path(f"/proc/{waiting}/root/workspace").glob("*.py")}

    assert "dataclasses.py" in planted
    # The first read of a file sets its access time, and later ones if it was not after the last write (mount(8)).
    assert not [name for name, seen in planted.items() if seen.st_atime_ns > seen.st_mtime_ns]


def test_a_waiting_process_that_was_killed_is_replaced(host: Any, eventually: Any) -> None:
    assert host.run("print(1)").stdout == b"1\n"
    (pid,) = eventually(lambda: _waiting(host))
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: not _waiting(host))

    assert host.run("print(2)").stdout == b"2\n"


def test_a_job_is_not_charged_for_what_its_process_did_before(host: Any, eventually: Any) -> None:
    host.run("pass")
    eventually(lambda: _waiting(host))
    ended = host.run("import time, os; print(time.process_time(), flush=True); os._exit(0)")

    assert ended.cpu_s < float(ended.stdout)  # its own clock counts from the fork


def _shared_bytes(pid: int) -> int:
    """Memory that a fork has not copied yet: each first write to it will fault."""
    rows = dict(row.split(":") for row in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:])
    return int(rows["Shared_Dirty"].removesuffix("kB")) * 1024


def _is_asleep(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "S"


def test_a_waiting_process_shares_next_to_no_memory_with_the_agent(host: Any, eventually: Any) -> None:
    def shares_little() -> bool:
        host.run("pass")
        (waiting,) = eventually(lambda: _waiting(host))
        eventually(lambda: _is_asleep(waiting))
        return _shared_bytes(waiting) < 1 << 20

    eventually(shares_little, within_s=60.0)  # the one that found the processors taken has left its pages alone


@pytest.mark.long
def test_a_process_for_which_no_job_comes_ends(host: Any, eventually: Any) -> None:
    host.run("print(1)")
    eventually(lambda: _waiting(host))

    assert eventually(lambda: not _waiting(host), within_s=30.0)
    assert host.run("print(2)").stdout == b"2\n"
