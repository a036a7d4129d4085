"""What waits measure, as gauges among Airflow's own metrics: StatsD, Datadog or OpenTelemetry, as Airflow is set up.

A gauge is called `kafka_migration.<plan>.<number>`, so that plans can be told apart where metrics have no tags.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache


def emit(plan: str, numbers: Mapping[str, float]) -> None:
    """Set the gauges of a plan. Nothing where Airflow exports no metrics."""
    if not numbers:
        return
    from airflow.sdk.observability import stats

    _set_up()
    for name, value in numbers.items():
        stats.gauge(f"kafka_migration.{plan}.{name}", value)


@cache
def _set_up() -> None:
    """As Airflow does in a worker: the process in which triggers run has only its own copy of this module set up."""
    from airflow.sdk.configuration import conf
    from airflow.sdk.observability import stats
    from airflow.sdk.observability.metrics.stats_utils import get_stats_factory

    stats.initialize(
        factory=get_stats_factory(), export_legacy_names=conf.getboolean("metrics", "legacy_names_on", fallback=True)
    )
