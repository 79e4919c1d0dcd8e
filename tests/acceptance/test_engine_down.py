"""An engine that goes away and comes back under a live worker."""

import os
import tempfile
from pathlib import Path

import pytest
from tests.acceptance.conftest import START_WITHIN_S, wait_until_registered, worker_process
from tests.worker.engine.engine_proxy import EngineProxy, Mood

from leasebox.client import Client

WAIT_S = 90.0


def test_a_worker_whose_engine_is_not_up_yet_may_be_started_again(
    new_redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(os.environ, "LEASEBOX_DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    with worker_process(new_redis().url, tmp_path, "docker", "n") as child:
        assert child.wait(START_WITHIN_S) == 1


@pytest.mark.docker
@pytest.mark.slow
def test_jobs_wait_while_the_engine_is_down_and_the_nodes_record_says_so(
    new_redis, docker_engine, python_image, monkeypatch: pytest.MonkeyPatch, eventually
) -> None:
    server = new_redis()
    redis = server.connect()
    redis.set("lb:installation", docker_engine.installation)
    client = Client(server.url)
    with tempfile.TemporaryDirectory(prefix="lba-", dir="/tmp") as folder:
        home = Path(folder)
        home.chmod(0o755)
        proxy = EngineProxy(home / "engine.sock")
        monkeypatch.setitem(os.environ, "LEASEBOX_DOCKER_HOST", proxy.url)
        with worker_process(server.url, home, "docker", "n") as child:
            wait_until_registered(server.url, "n", child, home / "n.log")
            proxy.mood = Mood.REFUSE
            eventually(lambda: redis.hget("lb:node:n", "paused") == b"engine_down", within_s=START_WITHIN_S)
            handle = client.submit("print('at last')")
            eventually(lambda: redis.hget(f"lb:job:{handle.id}", "state") == b"queued")
            proxy.mood = Mood.PASS
            result = handle.result(timeout_s=WAIT_S)
            eventually(lambda: redis.hget("lb:node:n", "paused") == b"", within_s=START_WITHIN_S)
        log = (home / "n.log").read_text()
        proxy.close()
    docker_engine.remove_all()

    assert (result.outcome, result.stdout) == ("ok", "at last\n")
    # How often is not ours to say: an engine that other tests keep busy may be away once more by itself.
    assert "engine_down" in log
    assert "engine_back" in log
