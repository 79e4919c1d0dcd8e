"""What a worker tells Prometheus."""

import socket
import urllib.request

import pytest
from prometheus_client import REGISTRY

from leasebox.contract.errors import ConfigError
from leasebox_worker.telemetry import metrics


def free_port() -> int:
    with socket.socket() as found:
        found.bind((metrics.HOST, 0))
        return int(found.getsockname()[1])


def test_the_counters_are_offered_on_loopback_alone() -> None:
    port = free_port()
    metrics.JOBS.labels("ok").inc()
    metrics.serve(port)

    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        assert 'leasebox_jobs_total{outcome="ok"}' in answer.read().decode()
    with pytest.raises(OSError), socket.create_connection(("127.0.0.2", port), timeout=1):
        pass


def test_a_port_that_is_taken_is_a_wrong_setting() -> None:
    with socket.socket() as taken:
        taken.bind((metrics.HOST, 0))
        taken.listen()

        with pytest.raises(ConfigError, match="LEASEBOX_METRICS_PORT"):
            metrics.serve(int(taken.getsockname()[1]))


def test_the_page_on_top_of_the_module_names_every_metric_and_its_labels() -> None:
    ours = [metric for metric in REGISTRY.collect() if metric.name.startswith("leasebox_")]
    shown = {f"{m.name}_total" if m.type == "counter" else m.name for m in ours}

    assert shown == {line.split("`")[1] for line in str(metrics.__doc__).splitlines() if line.startswith("| `")}
