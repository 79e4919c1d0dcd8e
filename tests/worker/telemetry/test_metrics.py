"""What a worker tells Prometheus."""

import socket
import urllib.request

import pytest
from prometheus_client import REGISTRY

from leasebox.contract.errors import ConfigError
from leasebox.contract.result import Outcome, Result, Usage
from leasebox_worker.telemetry import metrics


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def test_the_counters_are_offered_on_loopback_alone() -> None:
    port = free_port()
    metrics.JOBS.labels("ok").inc()
    metrics.serve("127.0.0.1", port)

    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        assert 'leasebox_jobs_total{outcome="ok"}' in answer.read().decode()
    with pytest.raises(OSError), socket.create_connection(("127.0.0.2", port), timeout=1):
        pass


def test_a_port_that_is_taken_is_a_wrong_setting() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()

        with pytest.raises(ConfigError, match="LEASEBOX_METRICS_PORT"):
            metrics.serve("127.0.0.1", int(taken.getsockname()[1]))


def value(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


def test_a_job_that_ran_is_counted_by_phase_and_profile() -> None:
    usage = Usage(queued_s=2.0, lease_s=0.5, start_s=0.1, run_s=30.0, settle_s=0.01, cpu_s=1.5, output_bytes=70)
    phases = ("queued", "lease", "start", "run", "settle")
    before = [value("leasebox_job_seconds_sum", phase=phase) for phase in phases]
    ended = Result(job="j", outcome=Outcome.ERROR, ok=False, attempt=1, usage=usage)
    metrics.note_job(ended, "of-this-test")

    sums = [value("leasebox_job_seconds_sum", phase=phase) for phase in phases]
    assert [after - was for after, was in zip(sums, before, strict=True)] == pytest.approx([2.0, 0.5, 0.1, 30.0, 0.01])
    assert value("leasebox_job_cpu_seconds_total", profile="of-this-test") == 1.5
    assert value("leasebox_job_output_bytes_total", profile="of-this-test") == 70
    assert value("leasebox_job_memory_peak_bytes_count", profile="of-this-test") == 0  # nobody had counted it


def test_a_refused_job_makes_no_label_of_the_profile_that_it_invented() -> None:
    runs = value("leasebox_job_seconds_count", phase="run")
    metrics.note_job(Result(job="j", outcome=Outcome.REJECTED, ok=False), "invented")

    assert value("leasebox_job_seconds_count", phase="run") == runs
    assert REGISTRY.get_sample_value("leasebox_job_cpu_seconds_total", {"profile": "invented"}) is None


def test_what_has_not_happened_yet_is_shown_as_zero() -> None:
    metrics.begin()

    shown = {(s.name, *s.labels.values()) for metric in REGISTRY.collect() for s in metric.samples}
    assert {("leasebox_jobs_total", str(outcome)) for outcome in Outcome} <= shown
    assert {("leasebox_attempt_failures_total", str(failed)) for failed in metrics.Failed} <= shown
    assert not [name for name, *_ in shown if name.startswith("leasebox") and name.endswith("_created")]


def test_the_page_on_top_of_the_module_names_every_metric_and_its_labels() -> None:
    ours = [metric for metric in REGISTRY.collect() if metric.name.startswith("leasebox_")]
    shown = {f"{m.name}_total" if m.type == "counter" else m.name for m in ours}

    assert shown == {line.split("`")[1] for line in str(metrics.__doc__).splitlines() if line.startswith("| `")}
