"""Does a real Prometheus see a real system: every panel has data, a killed worker is an alert, a faultless format?"""

import json
import math
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml
from tests.conftest import Eventually
from tests.ops.watched import OPS, Watched, watched_system

from leasebox.client import Client

pytestmark = [pytest.mark.long, pytest.mark.timeout(400)]
WAIT_S = 60.0
PANELS = [
    pytest.param(target["expr"], id=f"{file.stem}: {panel['title']} {target['refId']}")
    for file in sorted((OPS / "grafana" / "dashboards").glob("*.json"))
    for panel in json.loads(file.read_text())["panels"]
    for target in panel["targets"]
]


def has_number(found: list[dict[str, Any]]) -> bool:
    return any(math.isfinite(float(series["value"][1])) for series in found)


@pytest.fixture(scope="module")
def busy(bwrap: Path, program: Callable[[str, str], Path]) -> Iterator[Watched]:
    """The system after it has run some jobs, which Prometheus saw come."""
    with watched_system(program("prometheus", "prometheus")) as watched:
        run_some(watched)
        yield watched


def run_some(watched: Watched) -> None:
    with Client(watched.api) as api, watched.live.client() as client:
        for number in range(5):
            api.run("print(1)", wait_s=WAIT_S)
            client.run(f"print({number})", session="s", wait_s=WAIT_S)
            client.run("raise SystemExit(1)", priority="batch", wait_s=WAIT_S)


def test_every_process_is_read(busy: Watched, eventually: Eventually) -> None:
    assert eventually(lambda: len(busy.ask("up == 1")) == 4, within_s=WAIT_S)


@pytest.mark.parametrize("expr", PANELS)
def test_every_panel_has_data(busy: Watched, eventually: Eventually, expr: str) -> None:
    asked = re.sub(r"\$(instance|tenant)\b", ".*", expr.replace("$__rate_interval", "1m"))

    def shown() -> bool:
        with busy.live.client() as client:
            client.run("print(1)", wait_s=WAIT_S)  # a rate needs something that goes on
        return has_number(busy.ask(asked))

    assert eventually(shown, within_s=60.0)


@pytest.mark.parametrize(
    "file", sorted((OPS / "grafana" / "dashboards").glob("*.json")), ids=lambda file: str(file.stem)
)
def test_every_variable_has_values(busy: Watched, eventually: Eventually, file: Path) -> None:
    for variable in json.loads(file.read_text())["templating"]["list"]:
        if variable["type"] == "query":
            metric, label = re.findall(r"\w+", variable["query"].removeprefix("label_values"))
            assert eventually(lambda: busy.ask(f'{metric}{{{label}!=""}}'), within_s=WAIT_S)  # noqa: B023


@pytest.mark.parametrize("job", ["exporter", "worker", "api"])
def test_promtool_finds_no_fault_in_what_is_offered(busy: Watched, job: str) -> None:
    text = httpx2.get(busy.offered[job]).text
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False)

    # What the client library tells of this process has names of its own.
    ours = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("leasebox")]
    assert (ours, done.returncode in (0, 3)) == ([], True), done.stderr


def test_labels_are_bounded_by_what_the_operator_has(busy: Watched, eventually: Eventually) -> None:
    assert eventually(lambda: len(busy.ask("up == 1")) == 4, within_s=WAIT_S)
    found = busy.ask('{__name__=~"leasebox_.+"}')
    names = {label for series in found for label in series["metric"]}

    assert names.isdisjoint({"job_id", "session", "user", "path"})
    assert {series["metric"]["tenant"] for series in found if "tenant" in series["metric"]} == {"acme", "default"}
    assert len(found) < 2000


def test_the_sides_agree_on_how_jobs_ended(busy: Watched, eventually: Eventually) -> None:
    def counts() -> tuple[list[str], list[str]]:
        ended = busy.ask('sum(leasebox_jobs_ended_total{outcome="error"})')
        seen = busy.ask('sum(leasebox_jobs_total{outcome="error"})')
        return [series["value"][1] for series in ended], [series["value"][1] for series in seen]

    assert eventually(lambda: counts()[0] == counts()[1] == ["5"], within_s=WAIT_S)


def test_a_killed_worker_is_an_alert_that_names_its_node(busy: Watched, eventually: Eventually) -> None:
    rules = yaml.safe_load((OPS / "prometheus" / "rules" / "leasebox.yml").read_text())
    exprs = {rule["alert"]: rule["expr"] for group in rules["groups"] for rule in group["rules"]}
    assert busy.ask(exprs["LeaseboxNodeLost"]) == []

    busy.workers["doomed"].kill()
    (lost,) = eventually(lambda: busy.ask(exprs["LeaseboxNodeLost"]), within_s=90.0)

    assert lost["metric"] == {"node": "doomed"}
    firing = 'ALERTS{alertname="LeaseboxNodeLost", alertstate="firing", node="doomed", severity="critical"}'
    assert eventually(lambda: busy.ask(firing), within_s=30.0)
    assert busy.ask(exprs["LeaseboxNoNode"]) == []
