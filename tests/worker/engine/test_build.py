"""A program that is built before it runs. Its compiler is a shell: what matters is the two steps, not the language."""

import threading
from dataclasses import replace
from typing import Any

import pytest
from tests.conftest import Eventually

from leasebox.contract.result import Outcome
from leasebox.contract.spec import parse_spec
from leasebox_worker.engine.build import failure_of
from leasebox_worker.engine.control import cancel
from leasebox_worker.engine.deps import Deps
from leasebox_worker.engine.outcome import Ended
from leasebox_worker.engine.program import longest_s
from leasebox_worker.engine.runner import run_job
from leasebox_worker.policy.admit import admit
from leasebox_worker.policy.languages import Found, Tools
from leasebox_worker.policy.profiles import Profile

pytestmark = pytest.mark.slow
TOOLS = Tools(
    version=("sh",), run=("{out}/main",), build=("sh", "{file}", "{out}/main"), build_env={"MADE_IN": "{out}"}
)
MAKE = "printf '#!/bin/sh\\n%s\\n' \"$program\" > $1 && chmod +x $1"


def source(program: str, before: str = "") -> str:
    """Code whose build writes `program` as the executable."""
    return f"{before}\nprogram={program!r}\n{MAKE}"


@pytest.fixture
def deps(deps: Deps) -> Deps:
    """A node whose C is a shell."""
    deps.toolboxes = {"default": {"c": Found(TOOLS, "1.2.3")}}
    return deps


def run(worker_node: Any, deps: Deps, code: str | None, session: str | None = None, **spec: Any) -> dict[str, Any]:
    given = {"language": "c", "session": session, **({"code": code} if code is not None else {}), **spec}
    job = worker_node.submit(session, given)
    run_job(job, deps)
    found: dict[str, Any] = worker_node.result(job)
    return found


def left(worker_node: Any, deps: Deps, session: str) -> str:
    listed = run(worker_node, deps, None, session, command=["find", ".", "-mindepth", "1"])
    return str(listed["stdout"])


def test_build_and_run_have_their_own_outputs_and_the_language_its_version(worker_node: Any, deps: Deps) -> None:
    code = source("cat; echo ran $1 >&2; exit 3", "echo built; echo $MADE_IN >&2")
    result = run(worker_node, deps, code, args=["a"], stdin="in\n")

    assert (result["outcome"], result["exit_code"]) == ("error", 3)
    assert (result["stdout"], result["stderr"]) == ("in\n", "ran a\n")
    assert (result["build"]["exit_code"], result["build"]["stdout"]) == (0, "built\n")
    assert result["build"]["stderr"].endswith("/.leasebox-build\n")
    assert result["build"]["run_s"] > 0
    assert (result["runtime"], result["error"]) == ("1.2.3", None)


def test_a_build_that_fails_is_an_error_of_its_own_and_nothing_runs(worker_node: Any, deps: Deps) -> None:
    result = run(worker_node, deps, source("echo ran", "echo no such type >&2; exit 1"), "s")

    assert (result["outcome"], result["exit_code"], result["stdout"]) == ("error", None, "")
    assert result["error"] == {
        "name": "BuildFailed", "message": "the build failed: exited with 1", "traceback": None,
    }  # fmt: skip
    assert (result["build"]["exit_code"], result["build"]["stderr"]) == (1, "no such type\n")
    assert left(worker_node, deps, "s") == ""


def test_a_session_keeps_its_files_and_nothing_of_a_build(worker_node: Any, deps: Deps) -> None:
    first = run(worker_node, deps, source("echo 1 > kept"), "s", files={"main.c": {"text": "mine"}})
    second = run(worker_node, deps, source("echo ran; ls -A"), "s")

    assert first["outcome"] == "ok"
    assert second["stdout"] == "ran\n.leasebox-build\nkept\nmain.c\n"
    assert sorted(left(worker_node, deps, "s").split()) == ["./kept", "./main.c"]
    assert run(worker_node, deps, None, "s", command=["cat", "main.c"])["stdout"] == "mine"


def test_what_was_built_is_neither_new_nor_an_artifact(worker_node: Any, deps: Deps) -> None:
    result = run(worker_node, deps, source("echo 1 > made"), artifacts=["**"])

    assert (result["new_files"], [artifact["path"] for artifact in result["artifacts"]]) == (["made"], ["made"])


def test_a_program_runs_in_its_folder_and_is_built_in_the_workspace(worker_node: Any, deps: Deps) -> None:
    result = run(worker_node, deps, source("pwd", "pwd"), cwd="d", files={"d/f": {"text": ""}})

    assert (result["build"]["stdout"], result["stdout"]) == ("/workspace\n", "/workspace/d\n")


def test_a_file_of_the_workspace_is_built_and_stays(worker_node: Any, deps: Deps) -> None:
    result = run(worker_node, deps, None, "s", entry="src/a.c", files={"src/a.c": {"text": source("echo ran")}})

    assert result["stdout"] == "ran\n"
    assert sorted(left(worker_node, deps, "s").split()) == ["./src", "./src/a.c"]


def test_the_limits_hold_for_each_step_by_itself(worker_node: Any, deps: Deps) -> None:
    much, limits = "head -c 700000 /dev/zero", {"stream_bytes": 1 << 20, "output_bytes": 1000}
    both = run(worker_node, deps, source(much, much), "s", limits=limits)
    flood = run(worker_node, deps, source("echo ran", "yes"), "s", limits=limits)
    endless = run(worker_node, deps, source("echo ran", "echo on; sleep 60"), "s", limits={"timeout_s": 3})

    assert (both["outcome"], len(both["stdout"]), len(both["build"]["stdout"])) == ("ok", 1000, 1000), both
    assert (flood["outcome"], flood["limit"], flood["stdout"]) == ("output_limit", "output", "")
    assert (endless["outcome"], endless["limit"], endless["error"]) == ("timeout", "wall", None)
    assert endless["message"] == "the build ended by its wall limit"
    assert (endless["build"]["stdout"], endless["stdout"], endless["exit_code"]) == ("on\n", "", None)
    assert left(worker_node, deps, "s") == ""


def test_what_both_steps_use_counts(worker_node: Any, deps: Deps) -> None:
    burn = "n=0; while [ $n -lt 300000 ]; do n=$((n + 1)); done"
    idle = run(worker_node, deps, source("true", "true"))
    built = run(worker_node, deps, source(burn, "true"))
    ran = run(worker_node, deps, source("true", burn))

    assert min(built["usage"]["cpu_s"], ran["usage"]["cpu_s"]) > 2 * idle["usage"]["cpu_s"] > 0
    failed = run(worker_node, deps, source("true", "head -c 30000000 /dev/zero > f; exit 1"))
    assert failed["usage"]["memory_peak_bytes"] > 25_000_000


def test_a_build_gets_no_secret_and_the_program_does(
    worker_node: Any, deps: Deps, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from leasebox_worker.policy.secrets import SecretStore

    (tmp_path / "TOKEN").write_text("hush-hush")
    deps.secrets = SecretStore(tmp_path)
    deps.profiles = {"default": Profile("default", secrets=("TOKEN",))}
    result = run(worker_node, deps, source("echo ${#TOKEN}", "echo ${#TOKEN}"), secrets=["TOKEN"])

    assert (result["build"]["stdout"], result["stdout"]) == ("0\n", "9\n")


def test_a_build_is_cancelled_like_a_program(worker_node: Any, deps: Deps, eventually: Eventually) -> None:
    job = worker_node.submit("s", {"code": source("echo ran", "touch on; sleep 60"), "language": "c"})
    thread = threading.Thread(target=run_job, args=(job, deps))
    thread.start()
    try:
        eventually(lambda: worker_node.job(job).get("state") == "running", within_s=20.0)
        worker_node.cancel(job)
        cancel(job, deps)
        thread.join(30.0)
        assert not thread.is_alive()
    finally:
        deps.sandboxes.discard_all()
        thread.join(30.0)

    result = worker_node.job(job)
    assert result["outcome"] == "cancelled"


def test_a_kept_interpreter_survives_a_build(worker_node: Any, deps: Deps) -> None:
    run(worker_node, deps, "n = 41", "s", language="python", stateful=True)
    built = run(worker_node, deps, source("echo ran"), "s")
    failed = run(worker_node, deps, source("echo ran", "exit 1"), "s")
    cell = run(worker_node, deps, "n + 1", "s", language="python", stateful=True)

    assert (built["stdout"], built["interpreter"], failed["interpreter"]) == ("ran\n", "kept", "kept")
    assert cell["results"] == [{"text/plain": "42"}]


def test_a_long_list_of_errors_comes_whole_with_the_result_and_not_with_the_event(worker_node: Any, deps: Deps) -> None:
    job = worker_node.submit(
        None, {"code": source("", "head -c 200000 /dev/zero | tr '\\0' e; exit 1"), "language": "c"}
    )
    run_job(job, deps)
    _, finished = worker_node.redis.xrevrange(worker_node.keys.events(job), count=1)[0]
    told = b"".join(finished.values())

    assert len(worker_node.result(job)["build"]["stdout"]) == 200_000
    assert len(told) < 10_000
    assert b'"exit_code":1' in told


ERROR = Ended(Outcome.ERROR, 1, None, None, "exited with 1")


@pytest.mark.parametrize(
    ("ended", "outcome", "message"),
    [
        (ERROR, Outcome.ERROR, "the build failed: exited with 1"),
        (
            replace(ERROR, outcome=Outcome.KILLED, message="ended by signal 11"),
            Outcome.ERROR,
            "the build failed: ended by",
        ),
        (
            replace(ERROR, outcome=Outcome.OOM, message="ended by its limit"),
            Outcome.OOM,
            "the build ended by its limit",
        ),
        (replace(ERROR, outcome=Outcome.CANCELLED, message="cancelled"), Outcome.CANCELLED, "cancelled"),
    ],
)
def test_how_a_job_ends_whose_build_has_ended(ended: Ended, outcome: Outcome, message: str) -> None:
    failure = failure_of(ended)

    assert failure is not None
    assert (failure.outcome, failure.exit_code) == (outcome, None)
    assert failure.message.startswith(message)


def test_a_job_may_take_its_time_for_each_step() -> None:
    grants = [admit(parse_spec({"code": "", "language": name}), Profile("p"), node_cpus=1) for name in ("perl", "c")]

    assert longest_s(grants[1]) == 2 * longest_s(grants[0]) > 60


def test_a_build_that_ended_well_ends_nothing() -> None:
    assert failure_of(Ended(Outcome.OK, 0, None, None, "")) is None
