"""What a demo tells a person at its end: what failed, what the runs proved, what the services wrote down themselves.

Only prints what it is given or finds on disk.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from demo.airflow import Airflow
from demo.follow import Failure, Run
from demo.verdict import Recovery
from demo.view import clock, print_table, say
from demo.witness import GroupCount, ProducerCount, WitnessCount
from demo.witness_log import Entry


@dataclass(frozen=True)
class Evidence:
    """What a run left on disk; empty where it left nothing."""

    file: Path | None
    content: dict[str, Any]

    @classmethod
    def of_run(cls, root: Path, run_id: str) -> Evidence:
        found = sorted(root.glob(f"*/*/{run_id}/evidence.json"))
        if not found:
            return cls(None, {})
        return cls(found[0], json.loads(found[0].read_text(encoding="utf-8")))

    @property
    def verdict(self) -> str | None:
        return self.content.get("verdict")

    @property
    def first_difference(self) -> str | None:
        """The first message whose copy was found not to be equal, where the run compared copies."""
        first: str | None = (self.content.get("compared") or {}).get("first")
        return first

    def told(self, key: str) -> list[Any]:
        """What the steps told under that key for machines to read, each in its last attempt."""
        if self.file is None:
            return []
        last: dict[tuple[str, int], dict[str, Any]] = {}
        for file in (self.file.parent / "steps").glob("*.json"):
            record = json.loads(file.read_text(encoding="utf-8"))
            task = record["task_id"], record.get("map_index", -1)
            if task not in last or last[task]["attempt"] < record["attempt"]:
                last[task] = record
        told = [record.get("report", {}).get("data", {}) for _, record in sorted(last.items())]
        return [data[key] for data in told if key in data]

    @property
    def announced(self) -> dict[str, int]:
        """How many messages of each group might repeat. Told by several steps, the most that one of them told."""
        found: dict[str, int] = {}
        for groups in self.told("announced"):
            for group, number in groups.items():
                found[group] = max(number, found.get(group, 0))
        return found

    @property
    def summary(self) -> dict[str, str]:
        return {str(label): str(text) for label, text in self.content.get("summary", {}).items()}


@dataclass
class Loss:
    """When a cluster was killed, and what became of it, in seconds since the epoch; None: not yet."""

    killed: float | None = None
    failed_over: float | None = None
    first: Entry | None = None
    returned: float | None = None

    @property
    def seconds(self) -> float | None:
        """From the loss to the first message that any group processed elsewhere."""
        return None if self.killed is None or self.first is None else self.first.time - self.killed


def tell_loss(console: Console, loss: Loss, recovery: Recovery) -> None:
    """What it cost to lose a cluster. Nothing where none was lost."""
    if loss.killed is None:
        return
    first = "nobody processed anything on the target"
    if loss.first is not None:
        place = f"{loss.first.record.topic}/{loss.first.record.partition}@{loss.first.record.offset}"
        first = f"{_since(loss.killed, loss.first.time)} (rto), {place} by group {loss.first.who}"
    tail = "not known" if recovery.rpo is None else f"{recovery.rpo:,} messages (rpo)"
    own = "not counted" if recovery.counted is None else f"{recovery.counted:,}"
    told = {
        "source killed": clock(loss.killed),
        "failover triggered": _since(loss.killed, loss.failed_over),
        "first on the target": first,
        "source returned": _since(loss.killed, loss.returned),
        "not mirrored": f"{tail}, as the failback found; of those acknowledged, as the demo counted: {own}",
    }
    for group, repeated in sorted(recovery.repeated.items()):
        told[f"group {group}"] = f"{repeated:,} repeated, at most {recovery.announced.get(group, 0):,} were announced"
    print_table(console, "What the loss of the source cost", told)


def _since(killed: float, moment: float | None) -> str:
    return "never" if moment is None else f"{clock(moment)}, {moment - killed:.1f} s later"


def tell_failures(console: Console, airflow: Airflow, run: Run, failures: Iterable[Failure]) -> None:
    for failure in failures:
        task = failure.task
        log = airflow.task_log(run.dag_id, run.run_id, task.task_id, task.try_number)
        say(console, f"{task.name} failed. Its log: {log}")
        for text in failure.errors:
            console.print(f"  {text}", markup=False, highlight=False)


def tell_evidence(console: Console, run: Run, evidence: Evidence) -> None:
    if evidence.file is None:
        say(console, f"{run.dag_id} left no evidence as {run.run_id}.")
        return
    files = {"evidence": str(evidence.file), "to read and print": str(evidence.file.with_suffix(".html"))}
    print_table(console, f"What {run.dag_id} proved", {**evidence.summary, **files})


def tell_count(console: Console, counted: WitnessCount) -> None:
    """The shop's own books: they know nothing of the migration."""
    told = {one.service: _producer(one) for one in counted.producers}
    told |= {f"group {one.group}": _group(one) for one in counted.groups}
    print_table(console, "What the services wrote down themselves", told)
    for fault in counted.first_faults:
        say(console, f"the first of its kind: {fault}, group {fault.group}")


def tell_copied(console: Console, evidence: Evidence, counted: WitnessCount) -> None:
    """How much came along, as the run proved, and how long somebody could write nothing, as the shop's own books tell.

    Nothing where the run did not come so far.
    """
    compared = evidence.content.get("compared")
    pauses = {one.service: one.rhythm.switch_pause for one in counted.producers}
    stood = [(pause, service) for service, pause in pauses.items() if pause is not None]
    if compared is None or not stood:
        return
    longest, service = max(stood)
    say(
        console,
        f"{compared['messages']:,} stored messages came along, {compared['differences']:,} of them differ;"
        f" the longest that a service wrote nothing is {longest:.2f} s, {service} at its switch",
    )


def _producer(one: ProducerCount) -> str:
    switch = one.rhythm.switch_pause
    told = "never changed its cluster" if switch is None else f"{switch:.2f} s without any at the switch"
    return f"{one.produced:,} acknowledged; {told}"


def _group(one: GroupCount) -> str:
    disorder = f"{one.out_of_order:,} out of order"
    if one.keys_out_of_order:
        disorder += f" ({one.keys_out_of_order:,} keys)"
    return (
        f"{one.processed:,} processed, {one.lost:,} lost, {one.repeated:,} repeated, {disorder}; "
        f"longest pause {one.rhythm.longest_pause:.2f} s"
    )
