"""What stands in Redis, as Prometheus gets it: also from a full Redis, and from one that does not answer."""

import re
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis as redis_py
from prometheus_client import CollectorRegistry
from tests.conftest import Eventually
from tests.worker.conftest import NodeUnderTest

from leasebox.contract.errors import ConfigError
from leasebox.contract.keys import Keys
from leasebox.contract.scripts import Runner
from leasebox.contract.scripts.census import Census, NodeCount
from leasebox_worker.engine.connection import client_of
from leasebox_worker.telemetry import exporter

SILENT_AFTER_S = 15.0


def of(reading: exporter.Exporter) -> CollectorRegistry:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(reading)
    return registry


def node(name: str = "n", **told: Any) -> NodeCount:
    given = {"silent_s": 1.0, "is_dead": False, "is_draining": False, "slots": 4, "busy": 1, "paused": frozenset()}
    counts = {"claims": 2, "overdue": 0, "sessions": 3, "pools": {"default": 2}}
    return NodeCount(name, **{**given, **counts, **told})


def census_of(*nodes: NodeCount) -> Census:
    return Census(
        (), nodes, (), {}, {"used_memory": "5", "maxmemory": "0", "total_system_memory": "9"}, 0, 0, 0, 0, 0.0
    )


def figure(found: Census, name: str, **labels: str) -> float | None:
    for metric in exporter.figures(found, silent_after_s=SILENT_AFTER_S):
        for sample in metric.samples:
            if sample.name == name and sample.labels == labels:
                return float(sample.value)
    return None


@pytest.mark.parametrize(
    ("told", "state", "is_up", "is_lost"),
    [
        ({}, "up", 1, 0),
        ({"is_draining": True}, "draining", 1, 0),
        ({"silent_s": SILENT_AFTER_S}, "up", 1, 0),
        ({"silent_s": SILENT_AFTER_S + 1}, "silent", 0, 1),
        ({"silent_s": 60.0, "is_dead": True}, "dead", 0, 1),
        ({"silent_s": 60.0, "is_draining": True}, "silent", 0, 0),  # it was stopped on purpose
        ({"silent_s": 60.0, "is_dead": True, "is_draining": True}, "dead", 0, 0),
    ],
)
def test_a_node_is_lost_when_it_falls_silent_without_a_drain(
    told: dict[str, Any], state: str, is_up: int, is_lost: int
) -> None:
    found = census_of(node(**told))

    assert figure(found, "leasebox_nodes", state=state) == 1
    assert sum(figure(found, "leasebox_nodes", state=s) or 0 for s in ("up", "draining", "silent", "dead")) == 1
    assert figure(found, "leasebox_node_up", node="n") == is_up
    assert figure(found, "leasebox_node_lost", node="n") == is_lost


def test_a_redis_without_a_bound_has_that_of_its_machine() -> None:
    bounded = census_of()._replace(memory={"used_memory": "5", "maxmemory": "7", "total_system_memory": "9"})

    assert figure(census_of(), "leasebox_redis_memory_max_bytes") == 9
    assert figure(bounded, "leasebox_redis_memory_max_bytes") == 7


def test_lost_jobs_are_shown_before_the_first(worker_node: NodeUnderTest) -> None:
    told = of(exporter.Exporter(worker_node.runner, worker_node.keys, silent_after_s=SILENT_AFTER_S))

    def lost(name: str) -> float | None:
        return told.get_sample_value("leasebox_jobs_ended_total", {"class": name, "outcome": "lost"})

    assert (lost("default"), lost("batch")) == (0, 0)
    worker_node.redis.hset(worker_node.keys.ended(), "default/lost", 3)
    assert (lost("default"), lost("batch")) == (3, 0)


def test_without_redis_it_says_so_and_nothing_else() -> None:
    nowhere = client_of("unix:///nowhere/s")
    told = of(exporter.Exporter(Runner(nowhere), Keys("t"), silent_after_s=SILENT_AFTER_S))

    assert [(metric.name, metric.samples[0].value) for metric in told.collect()] == [("leasebox_redis_up", 0)]


def test_the_page_on_top_of_the_module_names_every_figure(worker_node: NodeUnderTest) -> None:
    told = of(exporter.Exporter(worker_node.runner, worker_node.keys, silent_after_s=SILENT_AFTER_S))
    shown = {f"{m.name}_total" if m.type == "counter" else m.name for m in told.collect()}

    assert shown == set(re.findall(r"`(leasebox_\w+)`", str(exporter.__doc__)))


def test_a_scrape_is_one_command(worker_node: NodeUnderTest) -> None:
    told = of(exporter.Exporter(worker_node.runner, worker_node.keys, silent_after_s=SILENT_AFTER_S))
    list(told.collect())

    def sent() -> int:
        return int(worker_node.redis.info("commandstats")["cmdstat_evalsha"]["calls"])

    before = sent()
    list(told.collect())
    assert sent() == before + 1


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.fixture
def process(redis_server: Any, tmp_path: Path) -> Iterator[Callable[[int], "subprocess.Popen[str]"]]:
    """Starts an exporter as an operator does."""
    begun: list[subprocess.Popen[str]] = []

    def _start(port: int) -> "subprocess.Popen[str]":
        words = [sys.executable, "-m", "leasebox_worker.cli", "exporter", "--port", str(port)]
        given = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "LEASEBOX_URL": redis_server.url}
        begun.append(subprocess.Popen(words, env=given, stderr=subprocess.PIPE, text=True))
        return begun[-1]

    yield _start
    for child in begun:
        child.kill()
        child.communicate()


def test_the_command_answers_on_its_port_and_no_worker_is_needed(
    process: Callable[[int], "subprocess.Popen[str]"], eventually: Eventually
) -> None:
    port = free_port()
    child = process(port)

    def text() -> str:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
                return str(answer.read().decode())
        except OSError:
            assert child.poll() is None
            return ""

    told = eventually(text, within_s=60.0)

    assert "leasebox_redis_up 1.0" in told
    assert 'leasebox_nodes{state="up"}' in told
    assert "process_resident_memory_bytes" in told


def test_a_port_that_is_taken_is_a_wrong_setting() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        reading = exporter.Exporter(Runner(redis_py.Redis()), Keys("t"), silent_after_s=SILENT_AFTER_S)

        with pytest.raises(ConfigError, match="LEASEBOX_EXPORTER_PORT"):
            exporter.serve(reading, "127.0.0.1", int(taken.getsockname()[1]))
