"""What must stay true when Airflow reads plugins and DAGs: it is quick, and a bad plan harms no other."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.dags.conftest import AirflowHome, Ended

_ROOT = Path(__file__).parents[2]


def test_a_plan_that_does_not_load_is_a_dag_that_says_why(
    airflow_home: AirflowHome, run_dag: Callable[..., Ended]
) -> None:
    airflow_home.write_plan("acts")
    file = airflow_home.folder / "plans" / "typo.yaml"
    file.write_text("plan: typo\nshceme: producers_first\n")
    try:
        ended = run_dag("typo.migrate")
    finally:
        file.unlink()
    assert ended.tasks == {"invalid_plan": "failed"}
    assert "typo.yaml is not a valid plan" in ended.log
    assert "shceme: unknown key" in ended.log
    assert "Traceback" not in ended.log
    assert run_dag("acts.migrate").state == "success"


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        ("airflow_kafka_migration.parts", {"confluent_kafka", "kafka", "pandas", "numpy", "great_expectations"}),
        ("kafka_migration_plugin", {"airflow.api_fastapi.core_api.security", "confluent_kafka"}),
    ],
)
def test_what_every_process_imports_is_light(airflow_home: AirflowHome, module: str, unwanted: set[str]) -> None:
    told = subprocess.run(
        [sys.executable, "-c", f"import sys, {module}; print(*sys.modules)"],
        env={
            "AIRFLOW_HOME": str(airflow_home.folder),
            "PYTHONPATH": f"{_ROOT / 'include'}:{_ROOT / 'plugins'}",
            "PATH": "/usr/bin:/bin",
        },
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert unwanted.isdisjoint(told.stdout.split())
