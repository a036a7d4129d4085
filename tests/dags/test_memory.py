"""What must stay true of a task's memory: a time-out counts from the first attempt, until a person clears the task."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from airflow_kafka_migration.state import TaskMemory

RETRIES = 2


class Store(dict[str, Any]):
    """Airflow's task state: it outlives attempts, and the clearing of the task as well."""

    def set(self, key: str, value: Any, retention: object) -> None:
        self[key] = value


def memory(store: Store, max_tries: int = RETRIES) -> TaskMemory:
    ti = SimpleNamespace(max_tries=max_tries, task=SimpleNamespace(retries=RETRIES))
    return TaskMemory({"task_state_store": store, "ti": ti})  # type: ignore[typeddict-item]


def test_a_retry_counts_from_the_first_attempt() -> None:
    store = Store()
    assert memory(store).first_started(lambda: 100.0) == 100.0
    assert memory(store).first_started(lambda: 200.0) == 100.0


def test_a_cleared_task_counts_anew() -> None:
    store = Store()
    memory(store).first_started(lambda: 100.0)
    # Airflow gives a task that is cleared at its second attempt two more tries than it has made.
    assert memory(store, max_tries=2 + RETRIES).first_started(lambda: 300.0) == 300.0
