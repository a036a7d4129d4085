"""What a mirror has copied, to be compared: whole ranges, what of them is proved already, and what is left to read.

What is proved is remembered by leg, beside the pass: a later look reads only what came since, and one that was killed
goes on where it was. It never says more than was read: a range that has lost its head is not remembered.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from kafka_migration.clusters.client import Cluster
from kafka_migration.mirror.legs import Leg
from kafka_migration.mirror.progress import progress
from kafka_migration.offsets import Offsets, TopicPartition, Which, read_offsets, read_several
from kafka_migration.progress import ProgressLog
from kafka_migration.run import Run
from kafka_migration.steps.both_ways import way
from kafka_migration.steps.heads import kept
from kafka_migration.steps.mirroring import copy_of, runner, stamped
from kafka_migration.topics.describe import describe_topics
from kafka_migration.verification.content import compare_content
from kafka_migration.verification.counting import count_copies
from kafka_migration.verification.differences import ContentResult, RangePair
from kafka_migration.verification.proved import Known, Proved, from_json, furthest, to_json
from kafka_migration.visible import PASSES_WITHIN


def ranges(run: Run, leg: Leg) -> list[RangePair]:
    """Of every partition of a leg what is to be equal; of one that has not ended as far as its mirror has come.

    Of the latter compacted topics are left out: their sides can be compared at fixed ends only. Raises `ClusterError`,
    `MirrorError`.
    """
    topics = describe_topics(run.clusters.origin, {tp.topic for tp in leg.begin})
    names = {tp: copy_of(run, tp) for tp in leg.begin}
    anew = stamped(run, dict.fromkeys(names.values(), 0))
    compacted = {name for name, topic in topics.items() if topic.compacted}
    partitions = sorted(tp for tp in leg.begin if leg.ended or tp.topic not in compacted)
    ends, images = _ends(run, leg, partitions)
    return [
        RangePair(
            tp,
            leg.begin[tp],
            ends[tp],
            leg.onto[tp],
            images[tp],
            ignore_timestamp=names[tp].topic in anew,
            by_key=tp.topic in compacted,
            copy=names[tp].topic if names[tp] != tp else None,
            open_ended=not leg.ended,
        )
        for tp in partitions
    ]


def left(pairs: Iterable[RangePair], known: Known) -> list[RangePair]:
    """The same without what is proved. Of a compacted topic all is left, or nothing: what is latest changes."""
    return [_behind(pair, known[pair.partition]) if pair.partition in known else pair for pair in pairs]


def known(run: Run, leg: Leg, counted: bool = False) -> dict[TopicPartition, Proved]:
    """What is proved of the leg, by whichever run. `counted`: also what was only counted on both sides."""
    mine = [s["proved"] for s in _shares(run, leg) if counted or not s["counted"]]
    kept = [run.records.get(_key(leg, only_counted)) or {} for only_counted in ((False, True) if counted else (False,))]
    return furthest(map(from_json, [*mine, *kept]))


def trusted(run: Run, leg: Leg, counted: bool = False) -> dict[TopicPartition, Proved]:
    """What is proved, and still there. Raises `ClusterError`.

    Until a migration has finished, groups are yet to read the copies: so where the target has lost some since they were
    compared, all of the partition is looked at again. Afterwards it deletes in its own time.
    """
    found = known(run, leg, counted)
    if run.current.finished or not found:
        return found
    names = {tp: copy_of(run, tp) for tp in found}
    starts, ends = read_several(run.clusters.destination, names.values(), (Which.START, Which.END)).values()
    return {
        tp: proved
        for tp, proved in found.items()
        if starts[names[tp]] <= leg.onto[tp] and ends[names[tp]] >= proved.destination
    }


def settle(run: Run, leg: Leg, proved: Known, doubtful: Collection[TopicPartition], counted: bool = False) -> None:
    """Remember what a look at the leg has proved. Of the `doubtful` nothing that was known is believed any more."""
    for only_counted in (False, True):
        kept = from_json(run.records.get(_key(leg, only_counted)) or {})
        shares = [from_json(s["proved"]) for s in _shares(run, leg) if s["counted"] is only_counted]
        now = {tp: p for tp, p in furthest([kept, *shares]).items() if tp not in doubtful}
        now = furthest([now, proved]) if only_counted is counted else now
        run.records.set(_key(leg, only_counted), to_json(now) or None)
        if not only_counted:
            once = (ever_proved(run, leg) | now.keys()) - set(doubtful)
            run.records.set(_ever(leg), sorted(map(str, once)))
    _drop_shares(run)


def ever_proved(run: Run, leg: Leg) -> set[TopicPartition]:
    """The partitions of which something was compared and found equal, also where it is to be compared once more."""
    return set(map(TopicPartition.parse, run.records.get(_ever(leg)) or ()))


def forget(run: Run, leg: Leg) -> None:
    """Begin anew."""
    for only_counted in (False, True):
        run.records.set(_key(leg, only_counted), None)
    _drop_shares(run)


def share_out(run: Run, count: int) -> None:
    """Remember into how many shares a run is divided, each of which remembers by itself how far it has come."""
    run.records.set(_SHARES.format(way(run)), count)


def compare(
    run: Run, leg: Leg, pairs: Sequence[RangePair], before: Known, share: int | str, counted: bool = False
) -> dict[TopicPartition, ContentResult]:
    """Compare what is left of these ranges, and tell of each as a whole. `before`: what is proved of them.

    `counted`: only count, but for compacted topics, whose counts say nothing. How far it has come is remembered on the
    way, as that share's. Raises `ClusterError`.
    """
    before = {p.partition: before[p.partition] for p in pairs if p.partition in before}
    new = kept(run, leg, left(pairs, before))
    goes_on = {p.partition for p in new if (b := before.get(p.partition)) and p.destination_start >= b.destination}
    headless = {p.partition for p in new if p.former_start is not None}
    here, there = run.clusters.origin, run.clusters.destination
    telling = ProgressLog(run.log, "offsets compared")

    def remember(reached: Known) -> None:
        so_far = {
            tp: proved.behind(before[tp] if tp in goes_on else None)
            for tp, proved in reached.items()
            if tp not in headless
        }
        proved_ = to_json(furthest([before, so_far]))
        run.records.set(_SHARE.format(way(run), share), {"leg": leg.number, "counted": counted, "proved": proved_})

    results = compare_content(here, there, [p for p in new if p.by_key or not counted], telling, remember)
    results |= count_copies(here, there, [p for p in new if not p.by_key and counted], telling)
    for tp in goes_on:
        results[tp].goes_on(before[tp])
    return results


ALONE = "alone"
"""The share of who compares everything."""

_SHARES = "verified/{}shares"
_SHARE = "verified/{}share/{}"


def _ever(leg: Leg) -> str:
    return f"verified/leg/{leg.number}/ever"


def _names(run: Run) -> list[int | str]:
    return [ALONE, *range(int(run.records.get(_SHARES.format(way(run))) or 0))]


def _shares(run: Run, leg: Leg) -> list[Mapping[str, Any]]:
    """What each share of the last runs has remembered of the leg."""
    found = (run.records.get(_SHARE.format(way(run), name)) for name in _names(run))
    return [share for share in found if share is not None and share["leg"] == leg.number]


def _drop_shares(run: Run) -> None:
    for name in _names(run):
        run.records.set(_SHARE.format(way(run), name), None)


def _key(leg: Leg, counted: bool) -> str:
    return f"verified/leg/{leg.number}" + ("/counted" if counted else "")


def _ends(run: Run, leg: Leg, partitions: Collection[TopicPartition]) -> tuple[Offsets, Offsets]:
    """Where the ranges end here and there."""
    if leg.end is not None and leg.image is not None:
        return leg.end, leg.image
    # In this order: what is stored as copied when it is asked is there when the destination is asked.
    copied = progress(run.clusters, runner(run).watched.to_json()).positions
    names = {tp: copy_of(run, tp) for tp in partitions}
    there = _visible_ends(run.clusters.destination, names.values())
    ends = {tp: max(leg.begin[tp], copied.get(tp, 0)) for tp in partitions}
    return ends, {tp: there[name] for tp, name in names.items()}


def _visible_ends(cluster: Cluster, partitions: Collection[TopicPartition]) -> Offsets:
    """Where readers get to, once what had been written before is visible; if that does not pass, where it ends.

    The end of a transaction reaches the leaders of its partitions one after the other: how far it has copied may be
    told of a mirror before the last of its copies can be read. The smaller of two answers in a row is taken: a broker
    that is asked while a transaction begins may tell of more than can be read.
    """
    written = read_offsets(cluster, partitions, Which.END)
    deadline = time.monotonic() + PASSES_WITHIN
    before = read_offsets(cluster, partitions, Which.STABLE)
    while True:
        told = read_offsets(cluster, partitions, Which.STABLE)
        stable = {tp: min(at, before[tp]) for tp, at in told.items()}
        if all(stable[tp] >= end for tp, end in written.items()):
            return stable
        if time.monotonic() > deadline:
            # Whoever reads says what is in the way of it: to end before that would make missing of what is hidden.
            return {tp: max(at, written[tp]) for tp, at in stable.items()}
        before = told
        time.sleep(0.05)


def _behind(pair: RangePair, proved: Proved) -> RangePair:
    if pair.by_key and (proved.origin, proved.destination) != (pair.origin_end, pair.destination_end):
        return pair
    return replace(
        pair, origin_start=proved.origin, destination_start=proved.destination, copies_from=pair.origin_start
    )
