"""Steps of `history: prefixed`: beside a move that copies nothing, what is stored is copied under prefixed names.

Nothing of the move waits for it. What is copied is a declared range of each partition: from the oldest message that the
source had when copying began, to the cutover point. How far the copies have been proved is kept for the whole plan:
after a rollback the next pass copies and proves what has been written since.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from kafka_migration.clusters.client import Clusters
from kafka_migration.errors import Refused
from kafka_migration.findings import accept
from kafka_migration.mirror.connect import ConnectMirror
from kafka_migration.mirror.progress import progress as progress_of
from kafka_migration.offsets import OffsetRange, TopicPartition, Which, from_json, read_offsets, to_json
from kafka_migration.passes import open_pass, some
from kafka_migration.progress import ProgressLog
from kafka_migration.records import Records
from kafka_migration.report import Change, StepReport, Table
from kafka_migration.run import Run
from kafka_migration.steps import beside, differing, holding, remade
from kafka_migration.steps.common import check_window, moved_topics, stop_with
from kafka_migration.steps.content import entries, totals
from kafka_migration.steps.mirroring import stamped
from kafka_migration.steps.pace import (
    bytes_each,
    failing,
    kept_running,
    overtaken,
    progress_line,
    rates,
    remember,
    stuck,
)
from kafka_migration.topics.describe import Topic, describe_topics
from kafka_migration.topics.ids import topic_ids
from kafka_migration.verification.content import Kind, RangePair, compare_content, judge_content
from kafka_migration.visible import first_visible
from kafka_migration.waiting import Look, Outcome

_SPAN = "history/span"
_END = "history/end"
_COMPARED = "history/compared"


@dataclass(frozen=True)
class Span:
    """What is copied and not proved yet. `begin`: of each partition the offset on the source from which on it is;
    `onto`: where its copies begin on the target. `ids`: by side the id of each topic when copying of it began.
    """

    begin: Mapping[TopicPartition, int]
    onto: Mapping[TopicPartition, int]
    ids: Mapping[str, Mapping[str, str]]

    @classmethod
    def of(cls, records: Records) -> Span:
        """The plan's; an empty one where nothing has been begun."""
        kept = records.get(_SPAN)
        return cls({}, {}, {}) if kept is None else cls(from_json(kept["begin"]), from_json(kept["onto"]), kept["ids"])

    def keep(self, records: Records) -> Span:
        ids = {side: dict(known) for side, known in self.ids.items()}
        records.set(_SPAN, {"begin": to_json(self.begin), "onto": to_json(self.onto), "ids": ids})
        return self


def start(run: Run) -> StepReport:
    """Make the topics that take the copies, hold them, and let the mirror run. Repeatable.

    Topics and partitions that came since are added. Raises `FindingsFailed` where a topic was made anew since copying
    of it began, `ClusterError` where the target refuses one.
    """
    mirror = _mirror(run)
    if run.dry_run:
        return StepReport(f"{mirror} would copy what is stored, under names such as {mirror.copy_of('orders')}")
    current = open_pass(run.records)
    if current.finished:
        return StepReport(f"nothing to do: run {current.finished['run_id']} has finished this migration")
    if current.note(_END) is not None:
        return StepReport(f"nothing to do: {mirror} has reached the cutover point and stays stopped")
    here = describe_topics(run.clusters.source, moved_topics(current))
    names = {topic: mirror.copy_of(topic) for topic in here}
    check_window(run, "copying what is stored")
    stop_with(StepReport(findings=remade.look(run.clusters, Span.of(run.records).ids)), "copying what is stored")
    changes = beside.make(run.clusters.target, here, names)
    changes += holding.hold(run, list(names.values())).changes
    span = _spanned(run, here, names)
    begin = {tp: at for tp, at in span.begin.items() if tp.topic in names}
    changes += mirror.create(begin)
    mirror.resume()
    return StepReport(
        f"{mirror} copies what is stored of {len(begin)} partitions of {len(names)} topics",
        tables=[
            Table(
                "Copied from",
                ("partition", "offset on the source", "as", "onto offset on the target"),
                tuple((str(tp), at, names[tp.topic], span.onto[tp]) for tp, at in sorted(begin.items())),
            )
        ],
        changes=changes,
        data={"holds": holding.told(holding.held(run))},
    )


class CopiedStep:
    """Waits until nothing visible is left to copy before the cutover point, then stops the mirror. `args`: none."""

    name = "what is stored copied"

    def timeout(self, run: Run) -> float:
        return run.plan.mirror.timeout if run.plan.mirror else 0.0

    def prepare(self, run: Run, args: Mapping[str, Any]) -> dict[str, Any]:
        if run.dry_run or run.current.finished or run.current.note(_END) is not None:
            return {"mirror": None}
        mirror = kept_running(_mirror(run), run.log)
        span, ends = _begun(run), _points(run)
        return {
            "mirror": mirror.watched.to_json(),
            "begins": to_json({tp: span.begin[tp] for tp in ends}),
            "ids": span.ids,
            "points": to_json(ends),
            "bytes": bytes_each(run, sorted({tp.topic for tp in ends})),
        }

    def look(self, clusters: Clusters, brief: Mapping[str, Any], memory: Mapping[str, Any], now: float) -> Look:
        if brief["mirror"] is None:
            return Look(Outcome.DONE, ("nothing to wait for",))
        if others := remade.look(clusters, brief["ids"]):
            return Look(Outcome.FAILED, (), memory, remade.told(others))
        begins, ends = from_json(brief["begins"]), from_json(brief["points"])
        through = set(memory.get("through", ()))  # nothing visible was left of these: what is deleted then is no loss
        open_ = [tp for tp in ends if str(tp) not in through]
        # First: what was deleted when it is asked must have been copied when that is asked.
        starts = read_offsets(clusters.source, open_, Which.START)
        progress = progress_of(clusters, brief["mirror"])
        if failed := failing(progress, memory):
            return failed
        at = {tp: max(begin, progress.positions.get(tp, begin)) for tp, begin in begins.items()}
        left = [OffsetRange(tp, at[tp], ends[tp]) for tp in open_ if at[tp] < ends[tp]]
        if lost := overtaken({r.partition: r.start for r in left}, starts, memory):
            return lost
        behind = {
            tp
            for tp, seen in first_visible(clusters.source, left).items()
            if seen.first is not None or not seen.complete
        }
        if not behind:
            return Look(Outcome.DONE, ("nothing visible is left before the cutover point",), memory)
        kept = remember(memory, sum(at.values()), sum(ends.values()), now)
        kept["through"] = sorted(str(tp) for tp in ends.keys() - behind)
        offsets = sum(r.end - r.start for r in left if r.partition in behind)
        line = progress_line(offsets, *rates(kept["samples"]), brief["bytes"])
        return stuck(progress, kept, now, line) or Look(Outcome.WAITING, (line,), kept)

    def seen(self, brief: Mapping[str, Any], look: Look) -> StepReport:
        return StepReport(notes=list(look.lines))

    def settle(self, run: Run, brief: Mapping[str, Any], look: Look) -> StepReport:
        if brief["mirror"] is None:
            return StepReport("would wait until what is stored is copied" if run.dry_run else "nothing to wait for")
        mirror, ends = _mirror(run), from_json(brief["points"])
        changes = _stop(mirror)
        images = _ends_there(run, mirror, ends)
        run.current.keep(_END, {"end": to_json(ends), "image": to_json(images)})
        return StepReport(
            f"{len(ends)} partitions are copied up to the cutover point; {mirror} is stopped",
            tables=[
                Table(
                    "Copied up to",
                    ("partition", "cutover point on the source", "as", "end on the target"),
                    tuple((str(tp), end, mirror.copy_of(tp.topic), images[tp]) for tp, end in sorted(ends.items())),
                )
            ],
            changes=changes,
            findings=holding.renewed(run),
        )


def compare(run: Run) -> StepReport:
    """Compare every copied message with its original, up to the cutover point; then the next pass begins there.

    Raises `FindingsFailed` naming the first differences.
    """
    if run.dry_run:
        return StepReport("would compare every copied message with its original")
    current, mirror = run.current, _mirror(run)
    known = current.note(_COMPARED)
    if known is not None:
        told = {key: value for key, value in known.items() if key != "run_id"}
        summary = f"nothing to do: {known['messages']:,} messages, compared by run {known['run_id']}"
        return StepReport(summary, data={"compared": told})
    reached = current.note(_END)
    if reached is None:
        raise Refused("what is stored has not been copied yet: run the task `history.copied` first")
    renewed = holding.renewed(run)
    span, ends, images = _begun(run), from_json(reached["end"]), from_json(reached["image"])
    stop_with(StepReport(findings=remade.look(run.clusters, span.ids)), "comparing what was copied")
    topics = describe_topics(run.clusters.source, {tp.topic for tp in ends})
    anew = stamped(run, {_copy(mirror, tp): 0 for tp in ends})
    pairs = [
        RangePair(
            tp,
            span.begin[tp],
            end,
            span.onto[tp],
            images[tp],
            ignore_timestamp=mirror.copy_of(tp.topic) in anew,
            by_key=topics[tp.topic].compacted,
            copy=mirror.copy_of(tp.topic),
        )
        for tp, end in sorted(ends.items())
    ]
    progress = ProgressLog(run.log, "offsets compared")
    results = compare_content(run.clusters.source, run.clusters.target, pairs, progress)
    judged = [
        replace(finding, id=f"content/{mirror.copy_of(finding.id.removeprefix('content/'))}")
        for finding in judge_content(results)
    ]
    compared = totals(results)
    report = StepReport(
        f"{compared['messages']:,} stored messages of {len(results)} partitions are on the target, under names such as"
        f" {mirror.copy_of(next(iter(topics)))}",
        tables=[
            Table(
                "Stored messages",
                ("partition", "visible on the source", "as", "visible on the target", "equal", *Kind),
                tuple(
                    (
                        str(tp),
                        r.origin_visible,
                        mirror.copy_of(tp.topic),
                        r.destination_visible,
                        r.equal,
                        *(r.counts[kind] for kind in Kind),
                    )
                    for tp, r in sorted(results.items())
                ),
            ),
            *differing.tables(run, results),
        ],
        findings=[*renewed, *accept(judged, run.plan.acceptances)],
        data={"compared": compared, "content": entries(pairs, results)},
    )
    stop_with(report, "comparing what was copied")
    current.keep(_COMPARED, {**compared, "run_id": run.run_id})
    replace(span, begin={**span.begin, **ends}, onto={**span.onto, **images}).keep(run.records)
    return report


def stop(run: Run) -> StepReport:
    """On the way back: nothing more is copied. What has been stays, and the next migration goes on behind it."""
    mirror = _mirror(run)
    if run.dry_run:
        return StepReport(f"would stop {mirror}; what it has copied stays")
    changes = _stop(mirror)
    return StepReport(f"{mirror} is stopped; what it has copied stays", changes=changes)


def _mirror(run: Run) -> ConnectMirror:
    if run.history is None:
        raise Refused("the plan does not say history: prefixed")
    return run.history


def _copy(mirror: ConnectMirror, tp: TopicPartition) -> TopicPartition:
    return TopicPartition(mirror.copy_of(tp.topic), tp.partition)


def _ends_there(run: Run, mirror: ConnectMirror, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
    """By partition of the source, where its copy ends on the target."""
    copies = {_copy(mirror, tp): tp for tp in partitions}
    return {copies[tp]: at for tp, at in read_offsets(run.clusters.target, copies, Which.END).items()}


def _stop(mirror: ConnectMirror) -> list[Change]:
    before = mirror.state()
    mirror.stop()
    after = mirror.state()
    return [Change(str(mirror), before, after)] if after != before else []


def _begun(run: Run) -> Span:
    span = Span.of(run.records)
    missing = sorted(tp for tp in _points(run) if tp not in span.begin)
    if missing:
        raise Refused(
            f"nothing is copied of {some(missing)}: run the task `start_history` first. A task that was marked as"
            " success by hand has recorded nothing."
        )
    return span


def _points(run: Run) -> dict[TopicPartition, int]:
    """The cutover point of each partition that moves in this pass."""
    topics, stages = set(moved_topics(run.current)), run.graph.stages
    unfrozen = [stage for stage in stages if not run.current.points(stage)]
    if unfrozen:
        raise Refused(
            f"the cutover point is not frozen yet (stage {', '.join(unfrozen)}): run the task `cutover` first"
        )
    return {tp: end for tp, end in run.current.latest_points(stages).items() if tp.topic in topics}


def _spanned(run: Run, here: Mapping[str, Topic], names: Mapping[str, str]) -> Span:
    """The span, recorded with the partitions that came since, before anything of them is copied."""
    span = Span.of(run.records)
    # The ids first: what is read below is of these topics or of later ones.
    ids = {
        "source": topic_ids(run.clusters.source, here, there=True),
        "target": topic_ids(run.clusters.target, names.values(), there=True),
    }
    new = [tp for topic in here.values() for tp in topic.numbered() if tp not in span.begin]
    if not new:
        return span
    starts = read_offsets(run.clusters.source, new, Which.START)
    ends = _ends_there(run, _mirror(run), new)
    known = {side: {**found, **span.ids.get(side, {})} for side, found in ids.items()}
    return Span({**span.begin, **starts}, {**span.onto, **ends}, known).keep(run.records)


copied = CopiedStep()
