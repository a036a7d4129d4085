"""What a verification has fixed when it began, and what its shares have found: kept with the plan, for all its tasks.

So every task looks at the same, whatever has become of the clusters, the mirror and the plan meanwhile; and a task may
run on any worker. One verification of a plan runs at a time; the tasks of one that was overtaken are refused.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from pydantic import TypeAdapter

from kafka_migration.errors import Refused
from kafka_migration.run import Run
from kafka_migration.steps.both_ways import way
from kafka_migration.verification.coverage import CoverageRow
from kafka_migration.verification.differences import ContentResult, RangePair

_RUN = "verified/{}run"
_FOUND = "verified/{}found/{}"

Results = list[tuple[RangePair, ContentResult]]


@dataclass(frozen=True)
class Job:
    """`why` there is nothing to look at; empty where there is something. `shares`: how many there are.

    Of copies: `leg`, its number, whether it had `ended`, the `pairs` to compare (of a sample the chosen blocks, of
    `blocks` in all), and `proved`: the partitions that had been compared whole before. Of groups: the `rows` with the
    target's offsets, and the `marks` by partition between which is counted.
    """

    run_id: str
    pass_number: int
    why: str = ""
    shares: int = 1
    leg: int | None = None
    ended: bool = False
    pairs: list[RangePair] = field(default_factory=list)
    blocks: int = 0
    proved: list[str] = field(default_factory=list)
    rows: list[CoverageRow] = field(default_factory=list)
    marks: dict[str, list[int]] = field(default_factory=dict)


@dataclass(frozen=True)
class Found:
    """What one share has found. `counts`: by partition the numbers between its marks, and whether all was read."""

    run_id: str
    results: Results = field(default_factory=list)
    counts: dict[str, tuple[list[int], bool]] = field(default_factory=dict)


def begin(run: Run, job: Job) -> None:
    run.records.set(_RUN.format(way(run)), _JOB.dump_python(job, mode="json", exclude_defaults=True))


def begun(run: Run) -> Job:
    """What `ranges` has fixed. Raises `Refused` where it was another run's, or another pass has begun since."""
    kept = run.records.get(_RUN.format(way(run)))
    job = _JOB.validate_python(kept) if kept else None
    if job is None or job.run_id != run.run_id:
        raise Refused("another verification has begun since this one: trigger a new one")
    if job.pass_number != run.current.number:
        raise Refused("the migration was taken back meanwhile: trigger a new verification")
    return job


def keep(run: Run, number: int, found: Found) -> None:
    run.records.set(_FOUND.format(way(run), number), _FOUND_JSON.dump_python(found, mode="json", exclude_defaults=True))


def all_found(run: Run, job: Job) -> list[Found]:
    """What all shares have found. Raises `Refused` where one has not been read."""
    found = []
    for number in range(job.shares):
        kept = run.records.get(_FOUND.format(way(run), number))
        if kept is None or kept["run_id"] != run.run_id:
            raise Refused(f"share {number} has not been read: clear the task `compare` of that number")
        found.append(_FOUND_JSON.validate_python(kept))
    return found


def forget(run: Run, job: Job) -> None:
    """What the shares have found is judged: parts of messages, of those that differ, stay in the evidence alone."""
    for number in range(job.shares):
        kept = run.records.get(_FOUND.format(way(run), number))
        for _, result in (kept or {}).get("results", ()):
            for difference in result.get("differences", ()):
                difference.update(origin=None, destination=None)
        run.records.set(_FOUND.format(way(run), number), kept)


_JOB: TypeAdapter[Job] = TypeAdapter(Job)
_FOUND_JSON: TypeAdapter[Found] = TypeAdapter(Found)
