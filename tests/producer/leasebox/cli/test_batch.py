"""Does `leasebox batch run` give a result for each line, once, also when it is killed and run again?"""

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.producer.leasebox.served import served

from leasebox import Client
from leasebox._feeder import SPECS_AT_ONCE
from leasebox.config import ClientSettings
from leasebox.contract.keys import Keys

pytestmark = pytest.mark.slow
WORKER = Path(__file__).parents[1] / "played_worker.py"


class Folder:
    """Where `leasebox batch run jobs.jsonl --out results.jsonl` is typed."""

    def __init__(self, settings: ClientSettings) -> None:
        self.path = settings.home
        self.out = self.path / "results.jsonl"
        self.env = {
            **os.environ,
            "LEASEBOX_URL": str(settings.url),
            "LEASEBOX_PREFIX": settings.prefix,
            "LEASEBOX_HOME": str(settings.home),
        }

    def jobs(self, *given: Any) -> None:
        """Write the input; text stands as it is."""
        lines = [line if isinstance(line, str) else json.dumps(line) for line in given]
        (self.path / "jobs.jsonl").write_text("\n".join(lines) + "\n")

    def open(self, *words: str, source: str = "jobs.jsonl", **given: Any) -> "subprocess.Popen[str]":
        """Start it."""
        command = [sys.executable, "-m", "leasebox.cli", "batch", "run", source, "--out", "results.jsonl", *words]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | given
        return subprocess.Popen(command, env=self.env, cwd=self.path, text=True, **pipes)

    def run(self, *words: str, source: str = "jobs.jsonl", given: str = "") -> "subprocess.CompletedProcess[str]":
        """Run it to its end."""
        opened = self.open(*words, source=source)
        out, err = opened.communicate(given, timeout=60)
        return subprocess.CompletedProcess(words, opened.returncode, out, err)

    def results(self) -> list[dict[str, Any]]:
        """The lines of the output that are whole."""
        return [json.loads(line) for line in self.out.read_text().splitlines(keepends=True) if line.endswith("\n")]

    def by_index(self) -> dict[int, str]:
        """What each line printed."""
        found = self.results()
        assert len(found) == len({line["index"] for line in found})
        return {line["index"]: line["result"]["stdout"] for line in found}


@pytest.fixture
def folder(settings: ClientSettings) -> Folder:
    """A folder of its own."""
    return Folder(settings)


@pytest.fixture
def worker(folder: Folder) -> Iterator[None]:
    """A worker that ends each job with its code as the output."""
    process = subprocess.Popen([sys.executable, str(WORKER)], env=folder.env)
    yield
    process.kill()
    process.wait()


def code(count: int) -> list[dict[str, str]]:
    """So many jobs that differ."""
    return [{"code": f"line {n}"} for n in range(count)]


@pytest.mark.usefixtures("worker")
def test_each_line_gets_a_result_with_its_index_and_key(folder: Folder):
    folder.jobs({"code": "a", "key": "first"}, "", {"code": "b"})

    done = folder.run()

    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == "leasebox: 2 results (2 ok)\n"
    found = sorted((line["index"], line["key"], line["result"]["stdout"]) for line in folder.results())
    assert found == [(0, "first", "a"), (1, None, "b")]
    assert {"index", "key", "job", "result"} == set(folder.results()[0])
    assert not (folder.path / "results.jsonl.run").exists()


@pytest.mark.usefixtures("worker")
def test_standard_input_and_the_summary_as_json(folder: Folder):
    done = folder.run("--json", "-q", source="-", given='{"code": "x"}\n{"code": "y"}')

    assert done.returncode == 0
    assert done.stderr == ""
    summary = json.loads(done.stdout)
    assert (summary["done"], summary["new"], summary["by_outcome"], summary["errors"]) == (2, 2, {"ok": 2}, [])
    assert folder.by_index() == {0: "x", 1: "y"}


@pytest.mark.usefixtures("worker")
def test_lines_that_cannot_be_jobs_are_told_and_the_others_run(folder: Folder):
    folder.jobs({"code": "a"}, "{torn", {"code": "b", "tiemout": 3}, [1], {"code": "c"})

    done = folder.run("--json")

    assert done.returncode == 1
    errors = json.loads(done.stdout)["errors"]
    assert [(error["index"], error["code"]) for error in errors] == [(n, "invalid_spec") for n in (1, 2, 3)]
    assert "leasebox: index 2: invalid_spec: tiemout: unknown field" in done.stderr
    assert folder.by_index() == {0: "a", 4: "c"}


@pytest.mark.usefixtures("worker")
def test_run_again_after_mending_does_only_what_has_no_result(folder: Folder):
    folder.jobs({"code": "a"}, {"cod": "b"})
    assert folder.run().returncode == 1
    before = folder.results()
    folder.jobs({"code": "a"}, {"code": "b"})

    done = folder.run()

    assert done.returncode == 0
    assert folder.results()[:1] == before
    assert folder.by_index() == {0: "a", 1: "b"}


@pytest.mark.parametrize("over", ["redis", pytest.param("http", marks=pytest.mark.long)])
def test_a_run_that_was_killed_goes_on_with_the_jobs_that_it_queued(
    folder: Folder, settings: ClientSettings, client: Client, played: Any, eventually: Any, over: str
):
    folder.jobs(*code(30))
    with served(settings) as url:
        folder.env["LEASEBOX_URL"] = url if over == "http" else folder.env["LEASEBOX_URL"]
        killed = folder.open()
        queued = eventually(lambda: len(found := client.jobs("queued", limit=99)) == 30 and found, 60)
        for job in queued[:10]:
            played.end(played.begin(job.id), stdout="by the first run")
        eventually(lambda: folder.out.exists() and len(folder.results()) == 10, 30)
        killed.send_signal(signal.SIGKILL)
        killed.communicate()
        for job in queued[10:20]:
            played.end(played.begin(job.id), stdout="in between")

        again = folder.open()
        for job in queued[20:]:
            played.end(played.begin(job.id), stdout="during the second run")
        _, err = again.communicate(timeout=60)

    assert (again.returncode, err) == (0, "leasebox: 30 results (30 ok)\n")
    assert len(folder.by_index()) == 30
    assert {line["job"] for line in folder.results()} == {job.id for job in queued}
    assert len(client.jobs(limit=99)) == 30


@pytest.mark.usefixtures("worker")
def test_a_torn_last_line_is_written_anew(folder: Folder):
    folder.jobs(*code(3))
    assert folder.run().returncode == 0
    whole = folder.out.read_bytes()
    for torn in (whole[:-1], whole[:-20], whole[: whole.rindex(b"\n", 0, -1) + 4]):
        folder.out.write_bytes(torn)

        assert folder.run().returncode == 0
        assert folder.by_index() == {0: "line 0", 1: "line 1", 2: "line 2"}


@pytest.mark.usefixtures("worker")
@pytest.mark.parametrize(
    ("other", "why"),
    [
        (
            [{"code": "x", "key": "a"}, {"code": "y", "key": "c"}],
            "the result of index 1 has the key 'b', and the line 'c'",
        ),
        ([{"code": "x", "key": "a"}, "[]"], "it has a result of index 1, and that line is no job"),
        ([{"code": "x", "key": "a"}, "{torn"], "it has a result of index 1, and that line is no job"),
        ([{"code": "x", "key": "a"}], "it has a result of index 1, and there are 1 lines"),
        ([], "it has a result of index 1, and there are 0 lines"),
    ],
)
def test_the_results_of_another_file_are_not_taken_for_its_own(folder: Folder, other: list[Any], why: str):
    folder.jobs({"code": "x", "key": "a"}, {"code": "y", "key": "b"})
    assert folder.run().returncode == 0
    before = folder.out.read_bytes()
    folder.jobs(*other)

    done = folder.run()

    assert done.returncode == 125
    assert "belongs to another file of jobs" in done.stderr
    assert why in done.stderr
    assert "give another --out" in done.stderr
    assert folder.out.read_bytes() == before


@pytest.mark.parametrize("source", ["jobs.jsonl", "-"])
@pytest.mark.parametrize("last", [[], [{"code": "x", "key": "b"}]])
def test_another_file_is_refused_before_anything_is_queued(
    folder: Folder, client: Client, last: list[Any], source: str
):
    count = SPECS_AT_ONCE + 1
    folder.out.write_text(json.dumps({"index": count, "key": "a", "result": {"outcome": "ok"}}) + "\n")
    folder.jobs(*code(count), *last)

    done = folder.run(source=source, given=(folder.path / "jobs.jsonl").read_text())

    assert done.returncode == 125
    assert "belongs to another file of jobs" in done.stderr
    assert client.jobs() == []


@pytest.mark.usefixtures("worker")
def test_a_run_that_had_nothing_to_do_says_so(folder: Folder):
    folder.jobs(*code(2))
    folder.run()
    folder.jobs({"code": "other"}, {"code": "than before"})

    done = folder.run()

    assert done.returncode == 0
    assert done.stderr == (
        "leasebox: 2 results (2 ok); all were there before, nothing was run: give another --out to run them again\n"
    )
    summary = json.loads(folder.run("--json").stdout)
    assert (summary["done"], summary["new"]) == (2, 0)


def test_what_is_no_file_takes_no_results(folder: Folder):
    folder.jobs(*code(1))
    folder.out.symlink_to("/dev/zero")

    done = folder.run()

    assert done.returncode == 125
    assert "not a file" in done.stderr


def test_a_file_of_something_else_is_left_as_it_is(folder: Folder):
    folder.jobs(*code(1))
    for text in ('{"code": "x"}', '{"code": "x"}\n', "words", '{"index": 0}\n{"index": 1'):
        folder.out.write_text(text)

        done = folder.run()

        assert done.returncode == 125
        assert "not a result of `leasebox batch run`" in done.stderr
        assert folder.out.read_text() == text


def test_two_runs_do_not_write_to_one_file(folder: Folder, client: Client, eventually: Any):
    folder.jobs(*code(1))
    with folder.open() as first:
        eventually(lambda: client.jobs("queued"), 60)

        done = folder.run()

        first.kill()
    assert (done.returncode, done.stdout) == (125, "")
    assert "another run writes to" in done.stderr
    assert len(client.jobs()) == 1


def test_ctrl_c_leaves_the_jobs_queued_and_says_how_to_go_on(folder: Folder, client: Client, eventually: Any):
    folder.jobs(*code(3))
    opened = folder.open()
    eventually(lambda: len(client.jobs("queued")) == 3, 60)

    opened.send_signal(signal.SIGINT)
    _, err = opened.communicate(timeout=60)

    assert opened.returncode == 130
    assert "run again for the rest, or `leasebox batch cancel " in err
    assert len(client.jobs("queued")) == 3
    batch = err.split("batch cancel ")[1].split("`")[0]
    shown = subprocess.run(
        [sys.executable, "-m", "leasebox.cli", "batch", "cancel", batch, "--json"],
        env=folder.env, capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert json.loads(shown.stdout)["by_outcome"] == {"cancelled": 3}


def test_another_output_is_another_run(folder: Folder, client: Client, eventually: Any):
    folder.jobs(*code(1))
    for count in (1, 2):
        opened = folder.open()
        eventually(lambda count=count: len(client.jobs("queued")) == count, 60)
        opened.kill()
        opened.communicate()
        folder.out.unlink()


@pytest.mark.usefixtures("worker")
def test_lines_with_one_key_are_one_job_and_each_has_its_line(folder: Folder, client: Client):
    earlier = client.submit("same", idempotency_key="k")
    folder.jobs({"code": "same", "idempotency_key": "k"}, {"code": "same", "idempotency_key": "k"})

    assert folder.run().returncode == 0
    assert {(line["index"], line["job"]) for line in folder.results()} == {(0, earlier.id), (1, earlier.id)}


def test_lines_with_one_key_are_found_again_after_a_kill(folder: Folder, client: Client, played: Any, eventually: Any):
    folder.jobs(*[{"code": "same", "idempotency_key": "k"}] * 2, {"code": "other"})
    killed = folder.open()
    queued = eventually(lambda: len(found := client.jobs("queued")) == 2 and found, 60)
    killed.kill()
    killed.communicate()
    for job in queued:
        played.end(played.begin(job.id))

    assert folder.run().returncode == 0
    assert sorted(line["index"] for line in folder.results()) == [0, 1, 2]
    assert len(client.jobs()) == 2


@pytest.mark.usefixtures("worker")
def test_a_full_queue_slows_it_down_and_loses_nothing(folder: Folder, settings: ClientSettings, redis: Any):
    redis.hset(Keys(settings.prefix).settings(), "queue_max_jobs", 3)
    folder.jobs(*code(40))

    assert folder.run().returncode == 0
    assert folder.by_index() == {n: f"line {n}" for n in range(40)}


@pytest.mark.usefixtures("worker")
def test_a_terminal_sees_a_bar(folder: Folder):
    folder.jobs(*code(5))
    ours, theirs = pty.openpty()

    opened = folder.open(stderr=theirs)
    os.close(theirs)
    shown = b""
    while True:
        try:
            shown += os.read(ours, 4096)
        except OSError:
            break
    opened.communicate(timeout=60)

    assert b"5/5" in shown
    assert opened.returncode == 0
