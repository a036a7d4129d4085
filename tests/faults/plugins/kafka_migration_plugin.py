"""The real plugin, told to Airflow from this folder: with it comes the package of the same folder."""

from __future__ import annotations

import runpy
from pathlib import Path

_REAL = Path(__file__).resolve().parents[3] / "plugins" / Path(__file__).name

KafkaMigrationPlugin = runpy.run_path(str(_REAL))["KafkaMigrationPlugin"]
