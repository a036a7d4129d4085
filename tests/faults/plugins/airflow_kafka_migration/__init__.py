"""The plugin's package as the faults' Airflow imports it: the real modules, with a rendezvous at chosen points."""

from __future__ import annotations

from pathlib import Path

__path__ = [str(Path(__file__).resolve().parents[4] / "plugins" / "airflow_kafka_migration")]

import points

points.install()
