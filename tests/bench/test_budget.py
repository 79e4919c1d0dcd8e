"""Is a verdict of the benchmark right, and does its page hold every line of the budget?"""

import json
import subprocess
import sys

import pytest
from tests.bench import page
from tests.bench.budget import BUDGET, WARM_P50, WARM_RATE, Met, quantiles
from tests.bench.stand import ROOT, Report, Size


@pytest.mark.parametrize(
    ("figure", "seen", "verdict"),
    [
        (WARM_P50, 8.0, Met.STRETCH),
        (WARM_P50, 8.1, Met.MUST),
        (WARM_P50, 15.0, Met.MUST),
        (WARM_P50, 15.1, Met.NO),
        (WARM_RATE, 300.0, Met.STRETCH),
        (WARM_RATE, 299.0, Met.MUST),
        (WARM_RATE, 150.0, Met.MUST),
        (WARM_RATE, 149.0, Met.NO),
        (WARM_RATE, None, Met.UNSEEN),
    ],
)
def test_a_figure_at_its_bound_is_met(figure, seen, verdict):
    assert figure.verdict(seen) == verdict


@pytest.mark.parametrize(
    ("samples", "expected"), [([1.0], (1, 1.0, 1.0, 1.0)), (list(range(1, 101)), (100, 50.5, 96, 100))]
)
def test_quantiles_are_of_the_samples_there_are(samples, expected):
    found = quantiles(samples)

    assert (found.count, found.p50, found.p95, found.p99) == expected


def test_the_page_has_a_line_for_each_figure_of_the_budget_measured_or_not():
    report = Report(seen={WARM_P50: 9.0}, samples={"a row": [0.001, 0.002]}, cells="interpreters")

    text = page.page(report, ["bubblewrap"], Size())

    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert [row.split(" | ")[0].removeprefix("| ") for row in rows[1 : 1 + len(BUDGET)]] == [f.name for f in BUDGET]
    assert "| warm job through the queue, p50 | <= 15 ms | <= 8 ms | 9 ms | yes |" in rows
    assert sum(f" {Met.UNSEEN} |" in row for row in rows) == len(BUDGET) - 1
    assert f"1 of {len(BUDGET)} met" in text


@pytest.mark.long
@pytest.mark.docker
@pytest.mark.bubblewrap
def test_a_little_of_the_benchmark_measures_every_figure(tmp_path, docker_engine, python_image, bwrap):
    found = tmp_path / "found.json"

    run = subprocess.run(
        [sys.executable, "tests/bench/run.py", "--smoke", "--json", str(found)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )

    assert run.returncode == 0, run.stderr
    figures = json.loads(found.read_text())["budget"]
    assert [figure["figure"] for figure in figures if figure["seen"] is None] == []
    assert [figure["figure"] for figure in figures] == [figure.name for figure in BUDGET]
