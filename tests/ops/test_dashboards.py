"""Would Grafana take the dashboards, on any data source, again and again? What they show: `test_monitoring`."""

import json
import re
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml

from leasebox_worker.engine import gauges
from leasebox_worker.telemetry import exporter, metrics

GRAFANA = Path(__file__).parents[2] / "ops" / "grafana"
FILES = sorted((GRAFANA / "dashboards").glob("*.json"))
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
COLUMNS = 24
OF_OTHERS = {"process_resident_memory_bytes", "ALERTS"}


def loaded(file: Path) -> dict[str, Any]:
    found = json.loads(file.read_text())
    assert isinstance(found, dict)
    return found


def overlap(one: dict[str, int], other: dict[str, int]) -> bool:
    beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
    below = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
    return not (beside or below)


def test_there_is_a_dashboard_for_each_question() -> None:
    assert [file.stem for file in FILES] == ["overview", "tenants", "way", "workers"]
    uids = [loaded(file)["uid"] for file in FILES]
    assert uids == [f"leasebox-{file.stem}" for file in FILES]


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.stem))
def test_a_dashboard_has_a_variable_source_and_no_number_of_an_installation(file: Path) -> None:
    found = loaded(file)
    variables = {variable["name"]: variable for variable in found["templating"]["list"]}

    assert "id" not in found
    assert (variables["datasource"]["type"], variables["datasource"]["query"]) == ("datasource", "prometheus")
    asked = [v for v in variables.values() if v["type"] == "query"]
    targets = [target for panel in found["panels"] for target in panel["targets"]]
    assert all(part["datasource"] == SOURCE for part in [*asked, *found["panels"], *targets])
    used = set(re.findall(r"\$(\w+)", " ".join(t["expr"] for t in targets))) - {"__rate_interval"}
    assert used == set(variables) - {"datasource"}


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.stem))
def test_panels_have_ids_of_their_own_and_lie_beside_one_another(file: Path) -> None:
    panels = loaded(file)["panels"]
    places = [panel["gridPos"] for panel in panels]

    assert len({panel["id"] for panel in panels}) == len(panels)
    assert all(place["x"] >= 0 and place["x"] + place["w"] <= COLUMNS for place in places)
    assert not [pair for pair in combinations(places, 2) if overlap(*pair)]
    assert all(panel["title"] and panel["targets"] and panel["fieldConfig"]["defaults"]["unit"] for panel in panels)


def test_every_metric_of_a_dashboard_or_an_alert_is_one_that_we_tell() -> None:
    meter = Path(__file__).parents[2] / "producer" / "leasebox" / "server" / "meter.py"
    pages = [str(module.__doc__) for module in (metrics, gauges, exporter)] + [meter.read_text()]
    told = set(re.findall(r"`(leasebox_\w+)`", " ".join(pages)))
    rules = (GRAFANA.parent / "prometheus" / "rules" / "leasebox.yml").read_text()
    dashboards = [target["expr"] for file in FILES for panel in loaded(file)["panels"] for target in panel["targets"]]
    used = set(re.findall(r"\b((?:leasebox|process)_\w+|ALERTS)\b", " ".join([*dashboards, rules])))

    base = {re.sub(r"_(bucket|sum|count)$", "", name) for name in used}
    assert base - told - OF_OTHERS == set()


def test_what_is_provisioned_is_where_the_files_are_told_to_be() -> None:
    source = yaml.safe_load((GRAFANA / "provisioning" / "datasources" / "prometheus.yml").read_text())
    provider = yaml.safe_load((GRAFANA / "provisioning" / "dashboards" / "leasebox.yml").read_text())

    assert [(one["type"], one["isDefault"]) for one in source["datasources"]] == [("prometheus", True)]
    assert [one["type"] for one in provider["providers"]] == ["file"]
