"""What waits measure, as gauges among Airflow's own metrics: StatsD, Datadog or OpenTelemetry, as Airflow is set up.

A gauge is called `kafka_migration.<plan>.<number>`, so that plans can be told apart where metrics have no tags. Metrics
that cannot be sent are told once in the log, and never end a wait.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import cache

_LOG = logging.getLogger("kafka_migration")


def emit(plan: str, numbers: Mapping[str, float]) -> None:
    """Set the gauges of a plan. Nothing where Airflow exports no metrics."""
    if not numbers:
        return
    from airflow.sdk.observability import stats

    try:
        _set_up()
        for name, value in numbers.items():
            stats.gauge(f"kafka_migration.{plan}.{name}", value)
    except Exception as error:
        _tell(f"{type(error).__name__}: {error}")


@cache
def _set_up() -> None:
    """As Airflow does in a worker: the process in which triggers run has only its own copy of this module set up."""
    from airflow.sdk.configuration import conf
    from airflow.sdk.observability import stats
    from airflow.sdk.observability.metrics.stats_utils import get_stats_factory

    stats.initialize(
        factory=get_stats_factory(), export_legacy_names=conf.getboolean("metrics", "legacy_names_on", fallback=True)
    )


@cache
def _tell(error: str) -> None:
    _LOG.warning("metrics could not be sent: %s", error)
