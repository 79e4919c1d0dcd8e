"""Do the fixtures keep what they promise?"""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

CONFTEST = Path(__file__).with_name("conftest.py")
PASSED, FAILED, NOT_COLLECTED = 0, 1, 2
SKIPS = {
    "a test": "import pytest\ndef test_a():\n    pytest.skip('gone')\n",
    "a whole file": "import pytest\npytest.skip('gone', allow_module_level=True)\n",
}


def test_redis_has_aof_and_no_tcp_port(redis):
    settings = redis.config_get("*")

    assert (settings["appendonly"], settings["port"]) == ("yes", "0")


def test_redis_answers_bytes(redis, prefix):
    redis.set(prefix, "x")

    assert redis.get(prefix) == b"x"


def test_a_server_of_ones_own_is_another(new_redis: Callable[[], object], redis_server):
    assert new_redis() != redis_server


def test_eventually_returns_the_first_true_value(eventually):
    values = iter([0, None, 7])

    assert eventually(lambda: next(values)) == 7


def test_eventually_fails_at_its_deadline(eventually):
    with pytest.raises(pytest.fail.Exception, match=r"not true within 0\.02 s"):
        eventually(lambda: False, within_s=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("skip", SKIPS)
@pytest.mark.parametrize(("ci", "status"), [("true", {FAILED, NOT_COLLECTED}), ("false", {PASSED})])
def test_a_skip_fails_in_ci_alone(tmp_path, skip, ci, status):
    shutil.copy(CONFTEST, tmp_path)
    (tmp_path / "test_it.py").write_text(SKIPS[skip])
    # pytest's status is 5 where nothing at all ran.
    (tmp_path / "test_other.py").write_text("def test_other():\n    pass\n")

    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)],
        env={"CI": ci, "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert run.returncode in status, run.stdout


@pytest.mark.docker
def test_what_carries_the_labels_is_removed(docker_engine):
    network = docker_engine.client.networks.create(
        f"{docker_engine.installation}-probe", labels=dict(docker_engine.labels)
    )

    docker_engine.remove_all()

    assert network.id not in {n.id for n in docker_engine.client.networks.list()}


@pytest.mark.bubblewrap
def test_bwrap_runs_a_program(bwrap):
    shown = ["--ro-bind", "/usr", "/usr", "--ro-bind-try", "/lib", "/lib", "--ro-bind-try", "/lib64", "/lib64"]
    subprocess.run([bwrap, *shown, "/usr/bin/true"], check=True)
