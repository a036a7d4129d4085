"""The evidence as one page that a manager reads and prints: no script, nothing loaded from elsewhere, all escaped.

Here the numbers are put in order for the template `page.html.j2`, which holds every word and the whole look.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from kafka_migration.evidence.assemble import longest, longest_pause, proven, sides
from kafka_migration.evidence.model import (
    Approval,
    ContentEntry,
    CoverageEntry,
    DrainCurve,
    Evidence,
    FindingEntry,
    Point,
    Step,
)
from kafka_migration.evidence.words import clock, counted, day, duration, moment
from kafka_migration.offsets import TopicPartition
from kafka_migration.purposes import DRILL, MIRROR

_WIDTH = 1000.0  # of the drawings, in their own units
_HEIGHT = 120.0
_THINNEST = 3.0  # what a step of no length is drawn with
_STATUS_ORDER = {"FAIL": 0, "INCONCLUSIVE": 1, "WARN": 2, "PASS": 3}


def render(evidence: Evidence) -> str:
    """The page."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": _number,
        "duration": duration,
        "day": day,
        "clock": clock,
        "moment": moment,
        "counted": counted,
        "cell": _cell,
    }
    findings = sorted(evidence.findings, key=lambda f: (_STATUS_ORDER[f.status], bool(f.accepted), f.id))
    on_left, on_reached = proven(evidence.coverage)
    left, reached = sides(evidence.purpose)
    return environment.get_template("page.html.j2").render(
        e=evidence,
        moved=evidence.verdict == "PASS" and not evidence.dry_run and evidence.purpose not in (MIRROR, DRILL),
        left=left,
        reached=reached,
        proven=on_left + on_reached,
        proven_left=on_left,
        proven_reached=on_reached,
        slowest=longest(evidence.drains),
        pause=longest_pause(evidence.pauses),
        noted=[f for f in findings if f.status != "PASS"],
        passed=[f for f in findings if f.status == "PASS"],
        accepted=[f for f in findings if f.accepted],
        tally=_tally(findings),
        timeline=timeline(evidence),
        drains=[_drawn(curve) for curve in evidence.drains],
        coverage=_by_group_and_topic(evidence.coverage),
        copies=_by_topic(evidence.content),
        points=[_totals(point) for point in evidence.cutover_points],
        changes=[(step, step.changes) for step in evidence.steps if step.changes],
        records=[step for step in evidence.steps if step.tables or step.notes or step.error],
    )


@dataclass(frozen=True)
class Bar:
    """One row of the timeline; `x` and `width` in thousandths of the run. `width` None: it never ran."""

    name: str
    state: str
    x: float
    width: float | None
    seconds: float | None
    attempts: int
    summary: str


def timeline(evidence: Evidence) -> list[Bar]:
    """The steps and approvals in the order in which they began; those that never did come last."""
    rows: list[Step | Approval] = [*evidence.steps, *(a for a in evidence.approvals if a.asked_at is not None)]
    bars = [_bar(row, evidence) for row in rows]
    return sorted(bars, key=lambda bar: (bar.width is None, bar.x))


def _bar(row: Step | Approval, evidence: Evidence) -> Bar:
    if isinstance(row, Approval):
        began, ended, attempts = row.asked_at, row.at or evidence.ended_at, 1
        state, summary = f"approval {row.state}", f"{row.answer} by {row.answered_by}" if row.answered_by else ""
    else:
        began, ended, attempts = row.started_at, row.ended_at or evidence.ended_at, len(row.attempts)
        state, summary = row.state, row.summary
    name = row.task + (f" [{row.map_index}]" if isinstance(row, Step) and row.map_index >= 0 else "")
    if began is None:
        return Bar(name, state, 0.0, None, None, attempts, summary)
    whole = max(evidence.ended_at - evidence.started_at, 0.001)
    x = min(max((began - evidence.started_at) / whole * _WIDTH, 0.0), _WIDTH - _THINNEST)
    width = min(max((ended - began) / whole * _WIDTH, _THINNEST), _WIDTH - x)
    return Bar(name, state, round(x, 1), round(width, 1), ended - began, attempts, summary)


@dataclass(frozen=True)
class Drawn:
    """A drain as a drawing: the line's and the area's points in an SVG of 1000 by 120."""

    curve: DrainCurve
    most: float
    line: str
    area: str


def _drawn(curve: DrainCurve) -> Drawn:
    most = max(left for _, left in curve.samples)
    span = max(curve.ended - curve.started, 0.001)
    spots = [
        (round((at - curve.started) / span * _WIDTH, 1), round(_HEIGHT - left / max(most, 1) * (_HEIGHT - 4), 1))
        for at, left in curve.samples
    ]
    if len(spots) == 1:
        spots.append((_WIDTH, spots[0][1]))
    line = " ".join(f"{x:g},{y:g}" for x, y in spots)
    return Drawn(curve, most, line, f"0,{_HEIGHT:g} {line} {spots[-1][0]:g},{_HEIGHT:g}")


@dataclass(frozen=True)
class Group:
    """Coverage of one topic for one group, over its partitions; None: at least one could not be counted."""

    service: str
    group: str
    topic: str
    partitions: int
    origin_visible: int | None
    origin_left: int
    destination_visible: int | None
    destination_consumed: int | None
    destination_left: int
    rows: tuple[CoverageEntry, ...]


def _by_group_and_topic(rows: Iterable[CoverageEntry]) -> list[Group]:
    found: dict[tuple[str, str, str], list[CoverageEntry]] = defaultdict(list)
    for row in rows:
        found[row.service, row.group, row.topic].append(row)
    return [
        Group(
            *key,
            partitions=len(mine),
            origin_visible=_sum(r.origin_visible for r in mine),
            origin_left=sum(r.origin_left for r in mine),
            destination_visible=_sum(r.destination_visible for r in mine),
            destination_consumed=_sum(r.destination_consumed for r in mine),
            destination_left=sum(r.destination_left for r in mine),
            rows=tuple(sorted(mine, key=lambda r: r.partition)),
        )
        for key, mine in sorted(found.items())
    ]


@dataclass(frozen=True)
class Copied:
    """What comparing the copies of one topic showed, over its partitions."""

    topic: str
    copy_topic: str
    by_key: bool
    origin_visible: int
    destination_visible: int
    equal: int
    missing: int
    extra: int
    repeated: int
    altered: int
    misplaced: int
    verdict: str
    rows: tuple[ContentEntry, ...]


def _by_topic(rows: Iterable[ContentEntry]) -> list[Copied]:
    found: dict[tuple[str, str, bool], list[ContentEntry]] = defaultdict(list)
    for row in rows:
        found[row.topic, row.copy_topic, row.by_key].append(row)
    counts = ("origin_visible", "destination_visible", "equal", "missing", "extra", "repeated", "altered", "misplaced")
    return [
        Copied(
            *key,
            **{name: sum(getattr(r, name) for r in mine) for name in counts},
            verdict=next((v for v in ("FAIL", "INCONCLUSIVE") if any(r.verdict == v for r in mine)), "PASS"),
            rows=tuple(mine),
        )
        for key, mine in sorted(found.items())
    ]


def _sum(numbers: Iterable[int | None]) -> int | None:
    every = list(numbers)
    return None if None in every else sum(n for n in every if n is not None)


@dataclass(frozen=True)
class Ends:
    """The end offsets of one topic, in the order of its partitions."""

    topic: str
    offsets: tuple[int, ...]


@dataclass(frozen=True)
class Totals:
    """A cutover point by topic."""

    point: Point
    topics: tuple[Ends, ...]


def _totals(point: Point) -> Totals:
    found: dict[str, dict[int, int]] = defaultdict(dict)
    for text, offset in point.offsets.items():
        tp = TopicPartition.parse(text)
        found[tp.topic][tp.partition] = offset
    return Totals(
        point, tuple(Ends(topic, tuple(ends[n] for n in sorted(ends))) for topic, ends in sorted(found.items()))
    )


def _tally(findings: Sequence[FindingEntry]) -> list[tuple[str, int]]:
    """How many findings of each status, the gravest first; accepted ones counted apart."""
    names = ("FAIL", "INCONCLUSIVE", "accepted", "WARN", "PASS")
    kinds = ["accepted" if f.accepted else f.status for f in findings]
    return [(name, kinds.count(name)) for name in names if name in kinds]


def _number(value: float | None) -> str:
    return "not counted" if value is None else f"{value:,.0f}"


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.1f}" if isinstance(value, float) else str(value)
