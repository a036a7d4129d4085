"""The shape of the evidence: what one step keeps of itself, and the whole of a run. The published schema is made of it.

Times are seconds since the epoch (UTC). Offsets are keyed `topic/partition`. It reads and writes nothing.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Verdict = Literal["PASS", "FAIL", "INCONCLUSIVE"]
FindingStatus = Literal["PASS", "WARN", "FAIL", "INCONCLUSIVE"]


class Part(BaseModel):
    """What every part of the evidence has in common: nothing unknown in it, and it does not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Change(Part):
    """One thing that was changed; `done` is false in a dry run."""

    what: str
    before: str
    after: str
    done: bool


class Table(Part):
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]


class Seen(Part):
    """A finding as a step reported it."""

    id: str
    status: FindingStatus
    seen: str
    expected: str = ""
    advice: str = ""
    accepted: str = ""


class Report(Part):
    """A step's report, as `StepReport.to_json` writes it."""

    summary: str = ""
    tables: tuple[Table, ...] = ()
    changes: tuple[Change, ...] = ()
    findings: tuple[Seen, ...] = ()
    notes: tuple[str, ...] = ()
    data: dict[str, Any] = {}


class StepRecord(Part):
    """What one attempt of one task kept of itself, `steps/<task>.<attempt>.json`. It may hold more keys."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    schema_version: Literal[1]
    task_id: str
    attempt: int
    map_index: int = -1
    state: Literal["success", "failed", "waiting"]
    started_at: float
    ended_at: float | None = None
    error: str | None = None
    report: Report = Report()


class Attempt(Part):
    attempt: int
    state: str
    started_at: float
    ended_at: float | None
    error: str | None


class Step(Part):
    """One step of the run. What it reported is that of its last attempt."""

    task: str
    map_index: int = -1
    state: str = Field(description="success, failed, waiting, no record, or Airflow's state of a step that did not run")
    started_at: float | None
    ended_at: float | None
    duration: float | None = Field(description="Seconds from the first attempt's start to the last one's end.")
    summary: str
    error: str | None
    attempts: tuple[Attempt, ...]
    changes: tuple[Change, ...]
    tables: tuple[Table, ...]
    notes: tuple[str, ...]


class Approval(Part):
    """A question to a person. `answered_by` is empty when nobody answered, or when a dry run did not ask."""

    task: str
    state: str
    asked_at: float | None = None
    answered_by: str = ""
    answer: str = ""
    at: float | None = None


class FindingEntry(Seen):
    """A finding of the run and the step that made it."""

    task: str
    accepted_by: str = ""


class Point(Part):
    """A cutover point. Each stage's points are numbered; a later one replaced an earlier one because of stragglers."""

    stage: str
    number: int
    at: float
    run_id: str
    offsets: dict[str, int]


class CoverageEntry(Part):
    """Coverage of one partition for one group: offsets, and counts of visible messages (null: could not be counted).

    The origin is the cluster that services left: the source, in a rollback the target. The destination is the other.
    """

    topic: str
    partition: int
    group: str
    service: str
    begin: int
    cutover: int
    origin_log_start: int
    origin_commit: int | None
    origin_verdict: str
    origin_visible: int | None = Field(description="Visible messages in [begin, cutover) on the origin.")
    origin_left: int = Field(description="Those of them that the group had not read.")
    seed: int
    destination_log_start: int
    destination_commit: int | None
    destination_end: int
    destination_visible: int | None = Field(
        description="Visible messages in [seed, destination_end) on the destination."
    )
    destination_consumed: int | None = Field(description="Those of them in [seed, destination_commit).")
    destination_left: int
    counted_from: int | None = Field(
        default=None, description="From where on the destination was counted by this run; null: from the seed on."
    )


class DrainCurve(Part):
    """How a group's backlog shrank: `samples` are `[time, offsets left]`, the latter never less than the messages."""

    service: str
    group: str
    started: float
    ended: float
    samples: tuple[tuple[float, float], ...]


class Compared(Part):
    """What comparing copied messages with their originals showed."""

    messages: int
    partitions: int
    differences: int
    first: str | None = Field(description="The first message that differs: topic/partition@offset:kind.")
    repeated: int = Field(default=0, description="Of the differences, messages that are there more than once.")


class ContentEntry(Part):
    """What comparing one copied partition with its original showed, over ranges that were fixed before.

    Counts are of visible messages; of a compacted topic (`by_key`) `equal` and the differences are of keys.
    """

    topic: str
    partition: int
    copy_topic: str = Field(description="Its name on the destination.")
    origin_start: int
    origin_end: int
    destination_start: int
    destination_end: int
    origin_visible: int
    destination_visible: int
    equal: int
    missing: int
    extra: int
    repeated: int
    altered: int
    misplaced: int
    by_key: bool
    verdict: Verdict


class Standstill(Part):
    """How long a service that writes was stopped: from its order to stop until it was seen to run where it goes."""

    service: str
    seconds: float


class Pause(Part):
    """How long a group had nothing to read, at most: until it was seen to have committed where it goes.

    It begins when its backlog was worked off, or with the last stop of a writer of its topics where it had none.

    Zero: it read on the other cluster before it had nothing left.
    """

    service: str
    group: str
    seconds: float


class Watched(Part):
    """How a mirror that is kept was, when it was last looked at and while it was watched.

    `behind`, `worst`: offsets not copied, at the end and at most. `latency`, `slowest`: seconds that a canary's copy
    needed, the last one's and the slowest one's; null: there was none. `noted_at`: when positions of groups were noted.
    """

    behind: int
    worst: int
    latency: float | None
    slowest: float | None
    tasks: int
    restarted: int
    noted_at: float | None


class TailRange(Part):
    """What a lost source had taken on one partition and nobody had copied, when it returned.

    `target_start`, `target_end`: where its copies lie on the target, among other messages; null: it was not copied.
    """

    topic: str
    partition: int
    source_start: int
    source_end: int
    messages: int
    target_start: int | None
    target_end: int | None


class Tail(Part):
    """All of it. `copied`: to the target, as the plan wanted; else it stays on the source and no group reads it.

    `apart`: of a mirror that copies both ways, under a name of its own, behind nothing that was written there.
    """

    messages: int
    copied: bool
    apart: bool = False
    ranges: tuple[TailRange, ...]


class Drill(Part):
    """What was measured by practising a failover. `unmirrored`: messages that only the source had at that moment.

    `recovery_seconds`: until every copy of a group had its first message. `again`: by group, messages that it would
    have read again, as the living source tells.
    """

    recovery_seconds: float
    unmirrored: int
    again: dict[str, int]


class Recovery(Part):
    """Of a failover, its way back or a drill. `announced`: by group, messages that it reads again at most."""

    announced: dict[str, int]
    tail: Tail | None
    drill: Drill | None


class Scope(Part):
    """How much the run was about. Null: it ended before that was known."""

    topics: int | None
    partitions: int | None
    groups: int
    services: int


class Evidence(Part):
    """The evidence of one run. `because` says in words why the verdict is not PASS."""

    schema_version: Literal[1] = 1
    plan: str
    description: str
    scheme: str
    purpose: str
    run_id: str
    verdict: Verdict
    because: tuple[str, ...]
    dry_run: bool
    reason: str
    triggered_by: str
    started_at: float
    ended_at: float
    scope: Scope
    summary: dict[str, str] = Field(description="The run in a few labelled lines, for a terminal.")
    approvals: tuple[Approval, ...]
    steps: tuple[Step, ...]
    findings: tuple[FindingEntry, ...]
    cutover_points: tuple[Point, ...]
    coverage: tuple[CoverageEntry, ...]
    drains: tuple[DrainCurve, ...]
    pauses: tuple[Pause, ...]
    data_docs: str | None = Field(
        description="A link beside this file to the own page of the suite that judged coverage or copies."
    )
    compared: Compared | None = Field(
        description="Where messages were copied: what comparing the copies with their originals showed."
    )
    content: tuple[ContentEntry, ...] = Field(default=(), description="The same, partition by partition.")
    level: str | None = Field(
        default=None, description="Of a verification, how closely it looked: offsets, counts, content or sample."
    )
    watched: Watched | None = Field(default=None, description="Of a mirror that is kept, how it was.")
    recovery: Recovery | None = Field(
        default=None, description="Where services follow a mirror, come back, or that is practised: what it costs."
    )
    standstill: Standstill | None = Field(
        description="Where messages were copied: the longest time that a writer was stopped."
    )
    holds: tuple[str, ...] = Field(
        description="What was held when this was written, and how to lift it; a run that passed lifts it by itself."
    )
    plan_digest: str
    plan_text: str

    @property
    def copied(self) -> bool:
        """Whether messages are copied in such a run, and the copies compared, rather than read on both clusters."""
        return any(step.task == "compare_content" for step in self.steps)
