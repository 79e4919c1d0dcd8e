"""How are figures told? A page with the budget and what was seen, and the same as JSON."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Mapping
from pathlib import Path

from tests.bench import notebook, turns
from tests.bench.budget import BUDGET, Figure, Met, quantiles
from tests.bench.stand import Report, Size

HEAD = "# Benchmarks\n\nWritten by `make bench`; compare ratios, not milliseconds."
JsonValue = str | float | None | list["JsonValue"] | dict[str, "JsonValue"]


def machine() -> str:
    """What was measured on, in a line."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    models = {line.partition(": ")[2] for line in lines if line.startswith("model name")}
    return (
        f"{platform.system()} {platform.release()}, {os.cpu_count()} cores ({', '.join(sorted(models)) or 'unknown'}),"
        f" Python {platform.python_version()}, load average {os.getloadavg()[0]:.1f} at the end"
    )


def page(report: Report, drivers: list[str], size: Size) -> str:
    """The whole page."""
    parts = [HEAD, _introduction(drivers, size), budget_table(report.seen), _single(report.samples)]
    if report.rates:
        parts.append(_rates(report.rates))
    if report.notes:
        parts.append("\n".join(report.notes))
    return "\n\n".join([*parts, cells(report)]) + "\n"


def cells(report: Report) -> str:
    """Its part about interpreters."""
    return f"{notebook.TITLE}\n\n{report.cells}"


def with_cells(page: str, report: Report) -> str:
    """A page with that part alone new."""
    return f"{page.partition(notebook.TITLE)[0].rstrip()}\n\n{cells(report)}\n"


def as_json(report: Report, drivers: list[str]) -> dict[str, JsonValue]:
    """All that was found, samples in seconds."""
    figures: list[JsonValue] = [
        {
            "figure": figure.name,
            "unit": figure.unit,
            "must": figure.must,
            "stretch": figure.stretch,
            "seen": report.seen.get(figure),
            "met": figure.verdict(report.seen.get(figure)).name.lower(),
        }
        for figure in BUDGET
    ]
    samples: dict[str, JsonValue] = {name: list(values) for name, values in report.samples.items()}
    rates: dict[str, JsonValue] = {name: list(values) for name, values in report.rates.items()}
    notes: list[JsonValue] = list(report.notes)
    return {
        "machine": machine(),
        "drivers": list(drivers),
        "budget": figures,
        "samples": samples,
        "rates": rates,
        "notes": notes,
    }


def _introduction(drivers: list[str], size: Size) -> str:
    beside = f"; {', '.join(drivers[1:])} beside it" if drivers[1:] else "; no Docker engine, so its rows are not there"
    return (
        f"{machine()}. {size.rounds} rounds in which every row takes its turn, each sample"
        f" {turns.SETTLE_S * 1e3:.0f} ms after the last answer; what is counted by the second in {size.turns} turns"
        f" with its yardstick. Rows without a driver's name: {drivers[0]}{beside}."
    )


def budget_table(seen: Mapping[Figure, float]) -> str:
    """The budget of speed, line by line."""
    lines = ["## The budget", "", "| figure | must | stretch | seen | met |", "|---|---|---|---|---|"]
    for figure in BUDGET:
        value = seen.get(figure)
        told = "" if value is None else _told(value, figure.unit)
        sign = ">=" if figure.is_more_better else "<="
        bounds = f"{sign} {_told(figure.must, figure.unit)} | {sign} {_told(figure.stretch, figure.unit)}"
        lines.append(f"| {figure.name} | {bounds} | {told} | {figure.verdict(value)} |")
    met = [figure.verdict(seen.get(figure)) for figure in BUDGET]
    count = sum(verdict in (Met.MUST, Met.STRETCH) for verdict in met)
    return "\n".join([*lines, "", f"{count} of {len(BUDGET)} met, {met.count(Met.STRETCH)} of them with the stretch."])


def _told(value: float, unit: str) -> str:
    digits = 2 if unit in ("x", "s") or value < 1 else 1
    number = f"{value:.{digits}f}".rstrip("0").rstrip(".")
    return number + unit if unit == "x" else f"{number} {unit}".rstrip()


def _single(samples: Mapping[str, list[float]]) -> str:
    base = quantiles(samples[turns.NOOP]).p50 if turns.NOOP in samples else None
    lines = [
        "## One at a time",
        "",
        "| what | count | p50 ms | p95 ms | p99 ms | p50 against the stock no-op |",
        "|---|---|---|---|---|---|",
    ]
    for name, values in samples.items():
        found = quantiles(values)
        ratio = f"{found.p50 / base:.2f}x" if base else ""
        times = " | ".join(f"{value * 1e3:.2f}" for value in (found.p50, found.p95, found.p99))
        lines.append(f"| {name} | {found.count} | {times} | {ratio} |")
    return "\n".join(lines)


def _rates(rates: Mapping[str, list[float]]) -> str:
    lines = ["## Many at once", "", "| what | turns | median | each |", "|---|---|---|---|"]
    for name, values in rates.items():
        each = " ".join(f"{value:.1f}" for value in values)
        lines.append(f"| {name} | {len(values)} | {statistics.median(values):.1f} | {each} |")
    return "\n".join(lines)
