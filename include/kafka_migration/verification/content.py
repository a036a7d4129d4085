"""Content comparison: every visible message of two ranges that were fixed before, in the order of their partition.

Both clusters are read side by side, neither far ahead of the other, so that memory does not grow with what is stored.
Of a compacted topic the latest message of every key is compared. Only where something differs is anything read again:
to tell which extras are copies, and what the differences look like.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Any

from kafka_migration.clusters.client import Cluster
from kafka_migration.findings import Finding, Status
from kafka_migration.offsets import OffsetRange, TopicPartition, Which
from kafka_migration.verification import located
from kafka_migration.verification.by_key import ByKey, Key
from kafka_migration.verification.comparison import DESTINATION, ORIGIN, Comparison
from kafka_migration.verification.differences import ContentResult, Difference, Kind, RangePair
from kafka_migration.verification.digest import digest
from kafka_migration.verification.in_order import InOrder
from kafka_migration.verification.kept import no_more_kept
from kafka_migration.verification.proved import Proved
from kafka_migration.verification.side_by_side import NamedCluster, copied_range, named, range_of, read_both

__all__ = ["ContentResult", "Difference", "Kind", "RangePair", "compare_content", "judge_content"]

REMEMBER_EVERY = 30.0
_HELD = 200_000  # messages of all partitions together that are held of a side while they differ
_LEAST = 1_000  # of either, for one partition
_NAMED = 5
_WIDEST = 3


def compare_content(
    origin: Cluster,
    destination: Cluster,
    pairs: Sequence[RangePair],
    progress: Callable[[int, int], None] | None = None,
    remember: Callable[[dict[TopicPartition, Proved]], None] | None = None,
) -> dict[TopicPartition, ContentResult]:
    """Compare each pair of ranges. `progress` is told offsets read and offsets in all.

    `remember` is told from time to time how far the ranges have been found equal, so that who is killed goes on there.

    Nothing is compared of a partition where a start is not kept any more: its result says so. Raises `ClusterError`
    where a start is deleted while it is read, or a cluster cannot be read.
    """
    if len({p.partition for p in pairs}) < len(pairs):
        raise ValueError("each partition can be compared over one pair of ranges only")
    clusters = named(origin, destination, pairs)
    with ThreadPoolExecutor(2) as pool:
        deleted = no_more_kept(clusters, pairs, pool)
        whole = [p for p in pairs if p.partition not in deleted]
        held = max(_LEAST, _HELD // max(1, len(whole)))
        comparisons: dict[TopicPartition, Comparison] = {
            p.partition: ByKey(p) if p.by_key else InOrder(p, held) for p in whole
        }
        read_both(clusters, whole, comparisons, _told(comparisons, progress, remember))
        results = _finish(clusters, whole, comparisons, pool)
    return {p.partition: results.get(p.partition) or deleted[p.partition] for p in pairs}


def judge_content(
    results: Mapping[TopicPartition, ContentResult],
    at_least_once: bool = False,
    proved_by: str = "",
    proved: Collection[TopicPartition] = (),
) -> list[Finding]:
    """One finding a topic: PASS with the count, FAIL with the first differences, INCONCLUSIVE if not all was read.

    `at_least_once`: messages that are only repeated are a WARN. `proved`: partitions that were compared whole before,
    `proved_by` which run at the latest, so that what is not kept of them any more needs no proof.
    """
    by_topic: dict[str, list[ContentResult]] = {}
    for tp, result in sorted(results.items()):
        by_topic.setdefault(tp.topic, []).append(result)
    return [_judge(topic, mine, at_least_once, proved_by, frozenset(proved)) for topic, mine in by_topic.items()]


def _told(
    comparisons: Mapping[TopicPartition, Comparison],
    progress: Callable[[int, int], None] | None,
    remember: Callable[[dict[TopicPartition, Proved]], None] | None,
) -> Callable[[int, int], None] | None:
    """What is to be called while it is read."""
    if remember is None:
        return progress
    last = time.monotonic()

    def tell(done: int, total: int) -> None:
        nonlocal last
        if progress is not None:
            progress(done, total)
        if time.monotonic() - last > REMEMBER_EVERY:
            remember({tp: c.reached for tp, c in comparisons.items() if isinstance(c, InOrder) and c.reached})
            last = time.monotonic()

    return tell


def _judge(
    topic: str,
    results: Sequence[ContentResult],
    at_least_once: bool,
    proved_by: str,
    proved: Collection[TopicPartition],
) -> Finding:
    if any(r.counted for r in results) and not any(r.deleted and r.partition not in proved for r in results):
        return _judge_counted(topic, results, at_least_once)
    different = sum(r.different for r in results)
    equal = sum(r.equal for r in results)
    repeated = sum(r.counts[Kind.REPEATED] for r in results) if at_least_once else 0
    if different > repeated:
        first = [_shown(d) for r in results for d in r.differences][:_NAMED]
        kinds = [f"{count:,} {kind}" for kind in Kind if (count := sum(r.counts[kind] for r in results))]
        return Finding(
            f"content/{topic}",
            Status.FAIL,
            f"{different:,} messages differ ({', '.join(kinds)}), {equal:,} are equal: {', '.join(first)}"
            + (f" ...; {_widest(results)}" if different > len(first) else ""),
            "every message as on the other side",
            "a missing or altered message cannot be mended in place: look who else writes to the topic, take the"
            " migration back, empty the topic and copy it again",
        )
    deleted = [f"{r.partition}: {r.deleted}" for r in results if r.deleted and r.partition not in proved]
    if deleted:
        return Finding(
            f"content/{topic}",
            Status.INCONCLUSIVE,
            f"not kept any more, so nothing of the partition was compared: {_listed(deleted)}",
            "both ranges kept until they have been compared",
            "whether the copies are right can no longer be shown: compare with the application's own records, and"
            " accept the finding if they agree",
        )
    unread = [
        f"{r.partition} on the {side}"
        for r in results
        for side, complete in (("origin", r.origin_complete), ("destination", r.destination_complete))
        if not complete
    ]
    if unread:
        return Finding(
            f"content/{topic}",
            Status.INCONCLUSIVE,
            f"an open transaction keeps {_listed(unread)} from being read to the end",
            "both ranges read whole",
            "it ends with its producer's commit or its time-out: then clear this task",
        )
    heads = [f"{r.partition}: {r.head}" for r in results if r.head and r.partition not in proved]
    if heads:
        return Finding(
            f"content/{topic}",
            Status.INCONCLUSIVE,
            f"not kept any more on the origin, so not compared: {_listed(heads)}; all {equal:,} messages that are kept"
            " are equal" + (f", {repeated:,} are there more than once" if repeated else ""),
            "both ranges kept until they have been compared",
            "retention has deleted them while they were copied: accept the finding if nobody needed them any more, or"
            " compare with the application's own records",
        )
    if repeated:
        place = next(_shown(d) for r in results for d in r.differences)
        return Finding(
            f"content/{topic}",
            Status.WARN,
            f"{repeated:,} messages are there more than once, first {place}; all {equal:,} are there",
            "every message once",
            "the mirror copies at least once, as the plan asks: who reads them on that cluster reads some again",
        )
    what = "latest messages of a key" if results[0].by_key else "messages"
    rewritten = sum(r.rewritten for r in results)
    beside = (
        f"; {rewritten:,} more have been written anew since, so that one side has deleted them" if rewritten else ""
    )
    if gone := [f"{r.partition}: {r.deleted or r.head}" for r in results if r.deleted or r.head]:
        beside += f"; proved by run {proved_by}, and not kept any more: {_listed(gone)}"
    return Finding(f"content/{topic}", Status.PASS, f"{equal:,} {what} of {len(results)} partitions are equal{beside}")


def _judge_counted(topic: str, results: Sequence[ContentResult], at_least_once: bool) -> Finding:
    """Of a topic of which both sides were only counted."""
    told = f"content/{topic}"
    short = [f"{r.partition}: {r.counts[Kind.MISSING]:,}" for r in results if r.counts[Kind.MISSING]]
    over = [f"{r.partition}: {r.counts[Kind.EXTRA]:,}" for r in results if r.counts[Kind.EXTRA]]
    look = "verify with level content: it names the first message that is missing or too many"
    if short or (over and not at_least_once):
        seen = [f"the destination lacks {_listed(short)}"] if short else []
        seen += [f"it has more, {_listed(over)}"] if over else []
        return Finding(told, Status.FAIL, " and ".join(seen), "as many messages on both clusters", look)
    unread = [str(r.partition) for r in results if not (r.complete or r.deleted)]
    if unread:
        return Finding(
            told,
            Status.INCONCLUSIVE,
            f"an open transaction keeps {_listed(unread)} from being counted to the end",
            "both ranges counted whole",
            "it ends with its producer's commit or its time-out: then clear this task",
        )
    if over:
        return Finding(
            told,
            Status.INCONCLUSIVE,
            f"the destination has more, {_listed(over)}; the mirror copies at least once, so that what is there twice"
            " could make up for what is missing",
            "as many messages on both clusters",
            look,
        )
    equal = sum(r.equal for r in results)
    return Finding(
        told,
        Status.PASS,
        f"{equal:,} messages of {len(results)} partitions were counted on both clusters, and not compared",
    )


def _shown(difference: Difference) -> str:
    return str(difference) + (f" ({', '.join(difference.fields)})" if difference.fields else "")


def _widest(results: Sequence[ContentResult]) -> str:
    """Where the most of them lie."""
    told = [(s, kind, r.partition) for r in results for kind, some in r.stretches.items() for s in some]
    widest = sorted(told, key=lambda one: -one[0].count)[:_WIDEST]
    return "the most in " + ", ".join(f"{tp}, offsets {s}: {s.count:,} {kind}" for s, kind, tp in widest)


def _listed(things: Sequence[str]) -> str:
    return ", ".join(things[:_NAMED]) + (f" and {len(things) - _NAMED} more" if len(things) > _NAMED else "")


def _finish(
    clusters: Sequence[NamedCluster],
    pairs: Sequence[RangePair],
    comparisons: Mapping[TopicPartition, Comparison],
    pool: ThreadPoolExecutor,
) -> dict[TopicPartition, ContentResult]:
    """The results, with what only another look at the clusters can tell of their differences."""
    rewritten = list(pool.map(partial(_rewritten, pairs, comparisons), clusters, (ORIGIN, DESTINATION)))
    for tp, comparison in comparisons.items():
        if isinstance(comparison, ByKey):
            comparison.result((rewritten[ORIGIN].get(tp, set()), rewritten[DESTINATION].get(tp, set())))
        elif isinstance(comparison, InOrder):
            comparison.result()
    _find_copies(clusters[ORIGIN], pairs, comparisons)
    results = {tp: comparison.found for tp, comparison in comparisons.items()}
    located.look_again(clusters, {p.partition for p in pairs if p.ignore_timestamp}, results, pool)
    return results


def _rewritten(
    pairs: Sequence[RangePair], comparisons: Mapping[TopicPartition, Comparison], cluster: NamedCluster, side: int
) -> dict[TopicPartition, set[Key]]:
    """Of the keys that are not there on one side those that are beyond its end: compaction removed the former."""
    absent: dict[TopicPartition, set[Key]] = {}
    for tp, comparison in comparisons.items():
        if isinstance(comparison, ByKey) and (keys := comparison.absent(side)):
            absent[tp] = keys
    ends = cluster.offsets(absent, Which.STABLE)
    found: dict[TopicPartition, set[Key]] = {tp: set() for tp in absent}

    def tell(tp: TopicPartition, message: Any) -> None:
        if message.key() in absent[tp]:
            found[tp].add(message.key())

    beyond = [
        OffsetRange(p.partition, range_of(p, side).end, ends[p.partition]) for p in pairs if p.partition in absent
    ]
    cluster.each_visible(beyond, tell)
    return found


def _find_copies(
    origin: NamedCluster, pairs: Sequence[RangePair], comparisons: Mapping[TopicPartition, Comparison]
) -> None:
    """Ask the origin which of the extras are copies of its messages."""
    wanted = {tp: c.extras for tp, c in comparisons.items() if isinstance(c, InOrder) and c.extras}
    stamped = {p.partition for p in pairs if p.ignore_timestamp}
    known: dict[TopicPartition, set[bytes]] = {tp: set() for tp in wanted}

    def tell(tp: TopicPartition, message: Any) -> None:
        told = digest(message, timestamp=tp not in stamped)
        if told in wanted[tp]:
            known[tp].add(told)

    asked = [copied_range(p) for p in pairs if p.partition in wanted]
    starts = origin.offsets([r.partition for r in asked], Which.START)
    origin.each_visible([replace(r, start=max(r.start, starts[r.partition])) for r in asked], tell)
    for tp, comparison in comparisons.items():
        if isinstance(comparison, InOrder) and tp in known:
            comparison.repeated(known[tp])
