"""What Airflow keeps for a plan beyond a run, and for a task beyond an attempt: its asset and task state stores.

It writes only under the keys that it is given; no value ever expires.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from airflow.sdk import Asset

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow.sdk import Context
    from airflow.sdk.execution_time.context import AssetStateStoreAccessor

LOCKS = Asset(name="kafka-migration-locks", uri="kafka-migration-locks://all")
"""Where active runs say what they touch."""


def plan_asset(plan: str) -> Asset:
    """The asset that a plan's state is kept under. As an inlet it gives access; only as an outlet it emits events."""
    return Asset(f"kafka-migration://{plan}")


class AssetRecords:
    """`kafka_migration.records.Records` in the state of one asset. The task must have the asset as inlet or outlet."""

    def __init__(self, context: Context, asset: Asset) -> None:
        self._store: AssetStateStoreAccessor = context["asset_state_store"][asset]

    def get(self, key: str) -> Any:
        return self._store.get(key)

    def set(self, key: str, value: Any) -> None:
        # Airflow refuses None; a key that is not there reads as None.
        if value is None:
            self._store.delete(key)
        else:
            self._store.set(key, value)

    def delete(self, key: str) -> None:
        self._store.delete(key)


class TaskMemory:
    """What a task must remember over retries, deferrals and a killed worker. Clearing the task begins a new series."""

    def __init__(self, context: Context) -> None:
        self._store = context["task_state_store"]
        ti = context["ti"]
        # The state outlives a clearing of the task, which raises max_tries: by it the attempts since are told apart.
        self._series = ti.max_tries - (ti.task.retries or 0) + 1

    def first_started(self, now: Callable[[], float] = time.time) -> float:
        """When the first attempt of this series began, in seconds since the epoch; recorded by that attempt."""
        kept = self.recall("first_started")
        if isinstance(kept, int | float):
            return float(kept)
        started = now()
        self.remember("first_started", started)
        return started

    def recall(self, key: str) -> Any:
        """What an attempt of this series has remembered under `key`, or None."""
        return self._store.get(f"{key}/{self._series}")

    def remember(self, key: str, value: Any) -> None:
        from airflow.sdk.execution_time.context import NEVER_EXPIRE

        self._store.set(f"{key}/{self._series}", value, retention=NEVER_EXPIRE)
