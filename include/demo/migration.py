"""The act of a demo: the shop is migrated through Airflow, then every message is counted.

Uses only what a person has too: Airflow's API, the evidence on disk, and the shop's own witness logs.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console

from demo.follow import Run
from demo.shop.catalogue import readers
from demo.stage import Stage
from demo.verdict import Tally, Verdict, judge
from demo.view import print_table, say, view_for
from demo.witness import Rhythm, WitnessCount, wait_until_complete

DAG = "orders.migrate"

_SHOP_RUNS_FIRST = 8.0
_DAG_WITHIN = 60.0
_RUN_WITHIN = 900.0
_COMPLETE_WITHIN = 90.0
_QUIET = 8.0


def migrate(stage: Stage, console: Console) -> Verdict:
    """Trigger the migration, follow it to its end, let the groups finish, count."""
    client = stage.client
    client.wait_for_dag(DAG, _DAG_WITHIN, stage.raise_if_dead)
    time.sleep(max(0.0, _SHOP_RUNS_FIRST - stage.shop_has_run))  # history to keep, a backlog to drain
    run_id = datetime.now(UTC).strftime("demo-%Y%m%dT%H%M%SZ")
    client.trigger(DAG, run_id, {})
    say(console, f"{DAG} triggered as {run_id}; watch it at {stage.airflow.login.url}")
    run = Run(client, DAG, run_id)
    with view_for(console) as view:
        state = run.follow(view, timeout=_RUN_WITHIN, check=stage.raise_if_dead)
    say(console, f"run {state}; the producers are stopped, the groups finish what they have")
    counted = _count(stage)
    evidence = _Evidence.of_run(stage.evidence, run_id)
    _tell_failures(console, stage, run)
    _tell_evidence(console, stage, evidence)
    _tell_count(console, counted)
    target = stage.target.bootstrap_servers
    return judge(
        run_state=state,
        gate=evidence.verdict,
        tally=Tally(
            counted.produced,
            counted.lost,
            counted.repeated,
            counted.out_of_order,
            str(counted.first_fault) if counted.first_fault else None,
        ),
        not_moved=[one.group for one in counted.groups if not one.rhythm.by_servers.get(target)],
    )


@dataclass(frozen=True)
class _Evidence:
    """What the run left on disk; empty where it left nothing."""

    file: Path | None
    content: dict[str, Any]

    @classmethod
    def of_run(cls, root: Path, run_id: str) -> _Evidence:
        found = sorted(root.glob(f"*/*/{run_id}/evidence.json"))
        if not found:
            return cls(None, {})
        return cls(found[0], json.loads(found[0].read_text(encoding="utf-8")))

    @property
    def verdict(self) -> str | None:
        return self.content.get("verdict")

    @property
    def summary(self) -> dict[str, str]:
        return {str(label): str(text) for label, text in self.content.get("summary", {}).items()}


def _count(stage: Stage) -> WitnessCount:
    stage.shop.stop_producers()
    return wait_until_complete(stage.shop.witness_directory, readers(), timeout=_COMPLETE_WITHIN, quiet=_QUIET)


def _tell_failures(console: Console, stage: Stage, run: Run) -> None:
    for failure in run.failures():
        task = failure.task
        say(
            console,
            f"{task.name} failed. Its log: {stage.airflow.task_log(DAG, run.run_id, task.task_id, task.try_number)}",
        )
        for text in failure.errors:
            console.print(f"  {text}", markup=False, highlight=False)


def _tell_evidence(console: Console, stage: Stage, evidence: _Evidence) -> None:
    if evidence.file is None:
        say(console, f"The run left no evidence in {stage.evidence}.")
        return
    files = {"evidence": str(evidence.file), "to read and print": str(evidence.file.with_suffix(".html"))}
    print_table(console, "What the run proved", {**evidence.summary, **files})


def _tell_count(console: Console, counted: WitnessCount) -> None:
    """The shop's own books: they know nothing of the migration."""
    told = {one.service: f"{one.produced:,} acknowledged{_pauses(one.rhythm)}" for one in counted.producers} | {
        f"group {one.group}": f"{one.processed:,} processed, {one.lost} lost, {one.repeated} repeated, "
        f"{one.out_of_order} out of order{_pauses(one.rhythm)}"
        for one in counted.groups
    }
    print_table(console, "What the services wrote down themselves", told)


def _pauses(rhythm: Rhythm) -> str:
    if rhythm.switch_pause is None:
        return "; never changed its cluster"
    return f"; {rhythm.switch_pause:.2f} s without any at the switch"
