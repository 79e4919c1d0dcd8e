"""Does the command line keep its promises to a shell: streams, exit statuses, last lines?"""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.producer.leasebox.served import served

from leasebox import Client
from leasebox.config import ClientSettings

pytestmark = pytest.mark.slow
WORKER = Path(__file__).parents[1] / "played_worker.py"


class Shell:
    """Types `leasebox ...`."""

    def __init__(self, settings: ClientSettings) -> None:
        self.env = {
            **os.environ,
            "LEASEBOX_URL": str(settings.url),
            "LEASEBOX_PREFIX": settings.prefix,
            "LEASEBOX_HOME": str(settings.home),
        }

    def open(self, *words: str) -> "subprocess.Popen[str]":
        """Start a command."""
        return subprocess.Popen(
            [sys.executable, "-m", "leasebox.cli", *words],
            env=self.env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __call__(self, *words: str, given: str = "", **env: str) -> "subprocess.CompletedProcess[str]":
        """Run a command to its end."""
        self.env |= env
        opened = self.open(*words)
        out, err = opened.communicate(given, timeout=120)
        return subprocess.CompletedProcess(words, opened.returncode, out, err)


@pytest.fixture
def shell(settings: ClientSettings) -> Shell:
    """A shell whose `leasebox` talks to the test's Redis."""
    return Shell(settings)


@pytest.fixture
def worker(shell: Shell) -> Iterator[None]:
    """A worker that ends each job with its code as the output."""
    process = subprocess.Popen([sys.executable, str(WORKER)], env=shell.env)
    yield
    process.kill()
    process.wait()


@pytest.mark.usefixtures("worker")
def test_run_gives_the_output_alone_on_stdout_and_the_outcome_on_stderr(shell: Shell):
    done = shell("run", "-", given="héllo")

    assert (done.stdout, done.returncode) == ("héllo", 0)
    assert done.stderr.splitlines()[-1].startswith("leasebox: ok, queued ")


@pytest.mark.usefixtures("worker")
def test_run_as_json_and_as_events(shell: Shell, tmp_path: Path):
    program = tmp_path / "x.py"
    program.write_text("code")

    as_json = shell("run", str(program), "--json", "-q")
    as_events = shell("run", str(program), "--events", "-q")

    assert json.loads(as_json.stdout)["outcome"] == "ok"
    assert as_json.stderr == ""
    lines = [json.loads(line) for line in as_events.stdout.splitlines()]
    assert [line["type"] for line in lines] == ["queued", "started", "stdout", "finished"]
    assert lines[2]["text"] == "code"


def test_submit_prints_the_id_that_the_other_verbs_take(shell: Shell, client: Client, played: Any):
    job = shell("submit", "-c", "x", "--session", "s").stdout.strip()
    assert json.loads(shell("status", job, "--json").stdout)["state"] == "queued"
    work = played.begin(job)
    played.write(work, ("stdout", b"out\n"), ("stderr", b"err\n"))
    assert shell("logs", job).stdout == "out\n"
    played.end(work, "error", exit_code=7, stdout="out\n", stderr="err\n")

    done = shell("result", job)

    assert (done.returncode, done.stdout) == (7, "out\n")
    assert done.stderr.splitlines()[0] == "err"
    assert "leasebox: error (exit 7)" in done.stderr
    assert shell("jobs", "--session", "s").stdout.startswith(job)
    assert shell("logs", "-f", job).returncode == 7


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_ctrl_c_and_other_ends_cancel_and_exit_as_a_shell_tells_them(
    shell: Shell, client: Client, eventually: Any, number: int, status: int
):
    opened = shell.open("run", "-c", "x")
    (job,) = eventually(client.jobs, within_s=20)
    opened.send_signal(number)
    _, err = opened.communicate(timeout=20)

    assert opened.returncode == status
    assert client.job(job.id).status().outcome == "cancelled"
    assert "Traceback" not in err


def test_a_second_signal_gives_up_what_redis_does_not_take(shell: Shell):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(20)
        env = {**shell.env, "LEASEBOX_URL": f"redis://127.0.0.1:{silent.getsockname()[1]}"}
        command = [sys.executable, "-m", "leasebox.cli", "run", "-c", "x"]
        with subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True) as opened:
            silent.accept()
            opened.send_signal(signal.SIGINT)
            opened.send_signal(signal.SIGTERM)
            try:
                _, err = opened.communicate(timeout=10)
            finally:
                opened.kill()

    assert opened.returncode == 143
    assert "it may run" in err
    assert "Traceback" not in err


def test_the_job_is_cancelled_also_where_nobody_can_be_told(shell: Shell, client: Client, eventually: Any):
    reads, writes = os.pipe()
    os.close(reads)
    opened = subprocess.Popen(
        [sys.executable, "-m", "leasebox.cli", "run", "-c", "x"], env=shell.env, stdout=writes, stderr=writes
    )
    os.close(writes)
    (job,) = eventually(client.jobs, within_s=20)
    opened.send_signal(signal.SIGINT)

    assert opened.wait(20) == 130
    assert client.job(job.id).status().outcome == "cancelled"


def test_a_signal_that_is_ignored_stays_so(shell: Shell, client: Client, played: Any, eventually: Any):
    command = [sys.executable, "-m", "leasebox.cli", "run", "-q", "-c", "x"]
    opened = subprocess.Popen(["sh", "-c", "trap '' HUP; exec \"$@\"", "sh", *command], env=shell.env)
    (job,) = eventually(client.jobs, within_s=20)
    opened.send_signal(signal.SIGHUP)
    played.end(played.begin(job.id))

    assert opened.wait(20) == 0


@pytest.mark.parametrize(
    ("words", "status", "told"),
    [
        (("run",), 2, "give a FILE"),
        (("run", "-c", "x", "--env", "A"), 2, "write NAME=VALUE"),
        (("run", "-c", "x", "--timeout", "soon"), 2, "--timeout: not a duration"),
        (("run", "-c", "x", "--timeout", "nan"), 2, "--timeout: not a duration"),
        (("run", "-c", "x", "--timeout", "-5"), 2, "--timeout: not a duration"),
        (("run", "-c", "x", "--timeout", "0"), 2, "--timeout: 0 is not above 0"),
        (("run", "-c", "x", "--memory", "much"), 2, "--memory: not a size"),
        (("run", "-c", "x", "--memory", "9" * 400), 2, "--memory: a size is below 8 EiB"),
        (("run", "-c", "x", "--stdin", "/nothing"), 2, "cannot read /nothing"),
        (("jobs", "--state", "failed"), 2, "write one of queued, "),
        (("status", "\udcff"), 2, "must be text in UTF-8"),
        (("logs", "x", "--after", "\udcff"), 2, "must be text in UTF-8"),
        (("jobs", "--session", "\udcff"), 2, "must be text in UTF-8"),
        (("jobs", "--metadata", "a=\udcff"), 2, "must be text in UTF-8"),
        (("batch", "show", "\udcff"), 2, "must be text in UTF-8"),
        (("keys", "revoke", "\udcff"), 2, "must be text in UTF-8"),
        (("create", "--profile", "\udcff"), 2, "must be text in UTF-8"),
        (("status", "nope"), 1, "leasebox: no job nope (finished jobs are forgotten after LEASEBOX_RESULT_TTL_S;"),
        (("cancel", "nope"), 1, "leasebox: no job nope (finished jobs are forgotten after LEASEBOX_RESULT_TTL_S;"),
    ],
)
def test_what_is_wrong_is_one_sentence_and_its_exit_status(
    shell: Shell, words: tuple[str, ...], status: int, told: str
):
    done = shell(*words)

    assert done.returncode == status
    assert told in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.usefixtures("worker")
def test_an_output_that_takes_nothing_is_one_sentence_and_125(shell: Shell):
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "leasebox.cli", "run", "-c", "x"],
            env=shell.env, stdout=full, stderr=subprocess.PIPE, text=True, timeout=30, check=False,
        )  # fmt: skip

    assert done.returncode == 125
    assert done.stderr == "leasebox: [Errno 28] No space left on device\n"


@pytest.mark.parametrize(
    "words", [("run", "-c", "x"), ("run", "--json", "-c", "x"), ("jobs",), ("logs",), ("--help",), ("jobs", "--help")]
)
@pytest.mark.usefixtures("worker")
def test_an_output_that_nobody_reads_is_the_shells_141_and_no_word(
    shell: Shell, client: Client, words: tuple[str, ...]
):
    client.run("x")
    given = [*words, client.jobs()[0].id] if words == ("logs",) else words
    reads, writes = os.pipe()
    os.close(reads)

    done = subprocess.run(
        [sys.executable, "-m", "leasebox.cli", *given, *(["-q"] if "run" in words else [])],
        env=shell.env, stdout=writes, stderr=subprocess.PIPE, text=True, timeout=30, check=False,
    )  # fmt: skip
    os.close(writes)

    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.usefixtures("worker")
@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_standard_stream_that_is_closed_is_an_empty_one(shell: Shell, closed: str):
    for words in ("run --json -c x", "jobs", "run -c x"):
        done = subprocess.run(
            ["sh", "-c", f"{sys.executable} -m leasebox.cli {words} {closed}"],
            env=shell.env, capture_output=True, text=True, timeout=30, check=False,
        )  # fmt: skip

        assert done.returncode == 0
        assert "Traceback" not in done.stderr


@pytest.mark.usefixtures("worker")
def test_json_in_ascii_says_what_it_says_in_utf_8(shell: Shell):
    said = "héllo \U0001f600"
    as_json = shell("run", "-q", "--json", "-c", said, PYTHONIOENCODING="ascii")
    as_events = shell("run", "-q", "--events", "-c", said, PYTHONIOENCODING="ascii")

    assert as_json.stdout.isascii()
    assert json.loads(as_json.stdout)["stdout"] == said
    assert [json.loads(line).get("text") for line in as_events.stdout.splitlines()][2] == said


def test_text_that_standard_output_cannot_say_is_escaped(shell: Shell):
    done = shell("config", LEASEBOX_HOME="/tmp/é", PYTHONIOENCODING="ascii")

    assert done.returncode == 0
    assert "home\t/tmp/\\xe9\t" in done.stdout


def test_standard_input_and_files_may_be_pipes_and_devices(shell: Shell, tmp_path: Path):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    opened = shell.open("submit", "-c", "x", "--stdin", "/dev/null", "--file", f"{fifo}:given")
    fifo.write_bytes(b"piped")
    _, err = opened.communicate(timeout=30)

    assert (opened.returncode, err) == (0, "")


def test_an_unreachable_redis_is_one_sentence_and_125(shell: Shell):
    done = shell("run", "-c", "x", LEASEBOX_URL="redis://127.0.0.1:1/0")

    assert done.returncode == 125
    assert done.stderr.startswith("leasebox: cannot reach Redis at redis://127.0.0.1:1/0: Connection refused (")
    assert len(done.stderr.splitlines()) == 1


def test_config_tells_each_value_and_its_source_and_hides_the_password(shell: Shell):
    done = shell("config", "--json", LEASEBOX_URL="redis://u:geheim@h/0")
    shown = {setting["name"]: setting for setting in json.loads(done.stdout)}

    assert shown["url"] == {"name": "url", "value": "redis://u:***@h/0", "source": "environment", "fault": None}
    assert shown["tenant"]["source"] == "default"
    assert shown["api_port"]["value"] == "8707"
    assert "geheim" not in done.stdout


def test_config_shows_the_rest_where_a_setting_is_wrong_and_names_it(shell: Shell):
    wrong = {"LEASEBOX_TENANT": "No Such", "LEASEBOX_API_PORT": "0"}

    assert "`leasebox config` shows where" in shell("jobs", **wrong).stderr
    done = shell("config", **wrong)

    assert done.returncode == 125
    assert "tenant\tNo Such\tenvironment\n" in done.stdout
    assert "result_ttl_s\t86400.0\tdefault\n" in done.stdout
    assert done.stderr.splitlines() == [
        "leasebox: LEASEBOX_TENANT (environment): must be up to 32 of a-z, 0-9 and -, beginning with a letter or digit",
        "leasebox: LEASEBOX_API_PORT (environment): must be at least 1",
    ]


def test_doctor_names_the_command_that_mends(shell: Shell):
    done = shell("doctor", LEASEBOX_URL="redis://127.0.0.1:1/0")

    assert done.returncode == 1
    assert "FAIL  redis: cannot reach Redis" in done.stdout


def test_a_file_of_profiles_is_checked_without_redis(shell: Shell, tmp_path: Path):
    good, bad = tmp_path / "good.toml", tmp_path / "bad.toml"
    good.write_text("[profiles.small]\npids = 8\n")
    bad.write_text("[profiles.small]\npids = 1\nspeed = 9\n[profiles.odd]\ncpus = 0\n")
    nowhere = {"LEASEBOX_URL": "redis://127.0.0.1:1/0"}

    done = shell("profiles", "validate", str(good), **nowhere)
    assert (done.returncode, done.stdout) == (0, f"{good}: 2 profiles: default, small\n")
    done = shell("profiles", "validate", str(bad), **nowhere)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"{bad}: profile 'odd': cpus: " in done.stderr
    done = shell("profiles", "validate", "--json", LEASEBOX_PROFILES_FILE=str(bad), **nowhere)
    assert (json.loads(done.stdout)["ok"], len(json.loads(done.stdout)["faults"])) == (False, 2)


def test_a_worker_that_cannot_check_profiles_says_why(shell: Shell):
    done = shell("profiles", "validate", LEASEBOX_SLOTS="many")

    assert done.returncode == 125
    assert "LEASEBOX_SLOTS" in done.stderr


def test_the_verbs_do_over_an_api_what_they_do_over_redis(shell: Shell, settings: ClientSettings, played: Any):
    with served(settings) as url:
        job = shell("submit", "-c", "x", LEASEBOX_URL=url).stdout.strip()
        assert "why" in shell("status", job).stdout
        work = played.begin(job)
        played.write(work, ("stdout", b"out\n"))
        assert shell("logs", job).stdout == "out\n"
        played.end(work, exit_code=7, outcome="error", stdout="out\n")
        done = shell("logs", "-f", job)
        listed = shell("jobs", "--json")
        doctor = shell("doctor")

    assert (done.stdout, done.returncode) == ("out\n", 7)
    assert [entry["id"] for entry in json.loads(listed.stdout)] == [job]
    assert f"ok    api: {url} answers" in doctor.stdout
    assert shell("jobs", LEASEBOX_URL=url).returncode == 125
