"""How do the main panels look without a Grafana? Drawn from what a live Prometheus answers to the dashboards' queries.

Titles, queries, legends and units are those of `ops/grafana/dashboards`; only `$__rate_interval` and the variables are
filled in, as Grafana does.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

DASHBOARDS = Path(__file__).parents[2] / "ops" / "grafana" / "dashboards"
PANELS = (
    ("overview", "Jobs ended"),
    ("overview", "Jobs waiting by class"),
    ("overview", "Slots"),
    ("workers", "Sandboxes started"),
    ("workers", "Pool: found warm"),
    ("way", "Where the time goes, mean"),
)
RATE_INTERVAL = "10s"
UNITS = {"short": "", "ops": "per second", "s": "seconds"}
COLUMNS, SIZE_INCHES, DPI = 3, (12.0, 5.6), 100
LEGEND_ROOM = 1.4


@dataclass(frozen=True)
class Span:
    """From when to when, unix seconds."""

    start: float
    end: float


def draw(prometheus: str, span: Span, to: Path) -> list[str]:
    """Draw the panels into one picture.

    Returns:
        The titles of panels for which Prometheus had nothing.
    """
    figure = Figure(figsize=SIZE_INCHES, dpi=DPI, layout="constrained")
    axes = figure.subplots(-(-len(PANELS) // COLUMNS), COLUMNS).flat
    empty = [
        title
        for (dashboard, title), ax in zip(PANELS, axes, strict=True)
        if not _draw_panel(ax, _panel(dashboard, title), prometheus, span)
    ]
    figure.savefig(to)
    return empty


def _panel(dashboard: str, title: str) -> dict[str, Any]:
    panels = json.loads((DASHBOARDS / f"{dashboard}.json").read_text())["panels"]
    return next(dict(panel) for panel in panels if (panel["title"], panel["type"]) == (title, "timeseries"))


def _draw_panel(ax: Axes, panel: dict[str, Any], prometheus: str, span: Span) -> bool:
    lines = 0
    for target in panel["targets"]:
        for series in _answer(prometheus, target["expr"], span):
            times = [float(at) - span.start for at, _ in series["values"]]
            values = [float(value) for _, value in series["values"]]
            ax.plot(times, values, label=_legend(target["legendFormat"], series["metric"]), linewidth=1.2)
            lines += 1
    ax.set_title(panel["title"], fontsize=10, loc="left")
    ax.set_ylabel(UNITS[panel["fieldConfig"]["defaults"]["unit"]], fontsize=8)
    ax.set_xlabel("seconds", fontsize=8)
    ax.tick_params(labelsize=8)
    ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    ax.set_ylim(0, ax.get_ylim()[1] * LEGEND_ROOM)
    ax.grid(alpha=0.3)
    if lines:
        ax.legend(fontsize=7, loc="upper left", ncols=2, framealpha=0.8)
    return lines > 0


def _legend(form: str, labels: dict[str, str]) -> str:
    return re.sub(r"\{\{(\w+)\}\}", lambda found: labels.get(found[1], ""), form)


def _answer(prometheus: str, expr: str, span: Span) -> list[dict[str, Any]]:
    asked = re.sub(r"\$(instance|tenant)\b", ".*", expr.replace("$__rate_interval", RATE_INTERVAL))
    params = {"query": asked, "start": str(span.start), "end": str(span.end), "step": "1"}
    answer = httpx2.get(f"{prometheus}/api/v1/query_range", params=params, timeout=30).json()
    return list(answer["data"]["result"])
