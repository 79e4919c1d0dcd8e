"""How is a figure that was just read handed to Prometheus?"""

from collections.abc import Iterable, Sequence

from prometheus_client.core import GaugeMetricFamily, Metric

Row = tuple[Sequence[str], float]
"""The values of the labels, and the figure."""


def gauge(name: str, about: str, value: float) -> Metric:
    """A figure without labels."""
    return GaugeMetricFamily(name, about, value=value)


def gauges(name: str, about: str, labels: Sequence[str], rows: Iterable[Row]) -> Metric:
    """Figures with the same labels."""
    family = GaugeMetricFamily(name, about, labels=labels)
    for values, number in rows:
        family.add_metric(values, number)
    return family
