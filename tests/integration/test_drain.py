"""The drain rule: when a group has nothing visible left to read before the cutover point. The heart of the product."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
from tests.conftest import RunningCluster
from tests.integration.workbench import Workbench, compacting_settings, eventually

from demo.kafka import KafkaCluster
from kafka_migration.clusters.client import Cluster, Clusters
from kafka_migration.clusters.protocol import speak
from kafka_migration.groups.commits import committed, set_commits
from kafka_migration.groups.drain import Drain, Position, Proof, Reader, judge
from kafka_migration.offsets import TopicPartition, Which, read_offsets, read_several, to_json
from kafka_migration.steps.drain import drained
from kafka_migration.waiting import Outcome


@pytest.fixture(scope="module")
def bench(source: RunningCluster) -> Workbench:
    return Workbench(source.bootstrap_servers)


def verdict(
    bench: Workbench,
    tp: TopicPartition,
    commit: int | None,
    point: int | None = None,
    begins: int | None = None,
    proven: int | None = None,
    moving: bool = False,
) -> Position:
    """The verdict on one group that stands at `commit`; the point is the partition's end where none is given."""
    reader = Reader(
        "group",
        points={tp: bench.end(tp) if point is None else point},
        commits={} if commit is None else {tp: commit},
        begins={} if begins is None else {tp: begins},
        proven={} if proven is None else {tp: proven},
        moving=frozenset([tp] if moving else ()),
    )
    return judge(bench.cluster, [reader], read_offsets(bench.cluster, [tp], Which.START))["group"][tp]


def test_group_at_the_point_is_drained(bench: Workbench) -> None:
    [tp] = bench.topic("at-the-point")
    bench.write(tp, 10)
    at = verdict(bench, tp, commit=10)
    assert (at.verdict, at.drained, at.left) == (Drain.DRAINED, True, 0)


def test_group_with_a_message_left_is_behind(bench: Workbench) -> None:
    [tp] = bench.topic("behind")
    bench.write(tp, 10)
    at = verdict(bench, tp, commit=9)
    assert (at.verdict, at.drained, at.left, at.next) == (Drain.BEHIND, False, 1, 9)


def test_group_with_only_a_transaction_marker_left_is_drained(bench: Workbench) -> None:
    """Applications that commit the offset of each record end like this: a lag of one for ever."""
    [tp] = bench.topic("marker")
    last = bench.commit_transaction(tp, 10)[-1]
    assert bench.end(tp) == last + 2
    assert verdict(bench, tp, commit=last + 1).verdict is Drain.DRAINED
    assert verdict(bench, tp, commit=last).verdict is Drain.BEHIND


def test_application_that_commits_each_record_of_a_transactional_topic_is_drained(bench: Workbench) -> None:
    """The same with a real consumer group instead of a position made up by the test."""
    [tp] = bench.topic("each-record")
    bench.commit_transaction(tp, 3)
    with bench.member(f"each-{tp.topic}", tp.topic) as consumer:
        for message in bench.read_by(consumer, 3):
            consumer.commit(message=message, asynchronous=False)
    commit = committed(bench.cluster, [f"each-{tp.topic}"])[f"each-{tp.topic}"][tp]
    assert commit == bench.end(tp) - 1, "a lag must be left, or this test shows nothing"
    assert verdict(bench, tp, commit).verdict is Drain.DRAINED


def test_group_with_only_aborted_messages_left_is_drained(bench: Workbench) -> None:
    [tp] = bench.topic("aborted-tail")
    bench.commit_transaction(tp, 5)
    bench.abort_transaction(tp, 5)
    assert verdict(bench, tp, commit=5).verdict is Drain.DRAINED
    assert verdict(bench, tp, commit=8).verdict is Drain.DRAINED, "in the midst of the aborted ones"
    assert verdict(bench, tp, commit=4).verdict is Drain.BEHIND


def test_message_behind_aborted_ones_is_still_owed(bench: Workbench) -> None:
    [tp] = bench.topic("behind-aborted")
    bench.write(tp, 1)
    bench.abort_transaction(tp, 20)
    bench.write(tp, 1)
    assert verdict(bench, tp, commit=1).verdict is Drain.BEHIND


def test_topic_that_holds_only_aborted_messages_owes_nothing(bench: Workbench) -> None:
    [tp] = bench.topic("only-aborted")
    bench.abort_transaction(tp, 3)
    assert verdict(bench, tp, commit=None).verdict is Drain.DRAINED
    assert verdict(bench, tp, commit=2).verdict is Drain.DRAINED


def test_open_transaction_is_not_drained_and_its_holder_is_named(bench: Workbench) -> None:
    [tp] = bench.topic("open")
    bench.write(tp, 4)
    with bench.open_transaction(tp, 5) as holder:
        assert bench.end(tp) == 9
        for commit in (4, 6, 8):
            at = verdict(bench, tp, commit)
            assert (at.verdict, at.drained) == (Drain.OPEN, False), commit
        assert verdict(bench, tp, commit=3).verdict is Drain.BEHIND
        with speak(bench.cluster) as protocol:
            assert protocol is not None
            [held] = protocol.open_transactions([tp]) or []
        assert (held.partition, held.start_offset, held.transactional_id) == (tp, 4, holder)
        assert f"{tp} from offset 4, held by transactional.id {holder}" in str(held)
    eventually(lambda: verdict(bench, tp, commit=4).drained, "the aborted transaction to owe nothing")


def test_empty_partition_owes_nothing(bench: Workbench) -> None:
    [tp] = bench.topic("empty")
    assert verdict(bench, tp, commit=None).verdict is Drain.DRAINED


def test_group_that_never_committed_has_everything_before_it(bench: Workbench) -> None:
    [tp] = bench.topic("no-commit")
    bench.write(tp, 3)
    at = verdict(bench, tp, commit=None)
    assert (at.verdict, at.drained, at.left, at.committed) == (Drain.NO_COMMIT, False, 3, None)


def test_group_that_starts_at_latest_owes_only_what_came_since(bench: Workbench) -> None:
    [tp] = bench.topic("latest")
    bench.write(tp, 3)
    assert verdict(bench, tp, commit=None, begins=3).verdict is Drain.DRAINED
    bench.write(tp, 1)
    assert verdict(bench, tp, commit=None, begins=3).verdict is Drain.NO_COMMIT


def test_what_was_deleted_before_the_migration_began_is_not_owed(bench: Workbench) -> None:
    [tp] = bench.topic("deleted-before")
    bench.write(tp, 10)
    bench.delete_before(tp, 6)
    # The commit is below the log's start already when the migration begins: it begins at the start.
    assert verdict(bench, tp, commit=2, begins=6).verdict is Drain.BEHIND
    assert verdict(bench, tp, commit=None, begins=6).verdict is Drain.NO_COMMIT
    assert verdict(bench, tp, commit=None).verdict is Drain.NO_COMMIT
    assert verdict(bench, tp, commit=6, begins=6).next == 6


@pytest.mark.parametrize("commit", [4, None])
def test_what_was_deleted_since_the_migration_began_is_expired_unread(bench: Workbench, commit: int | None) -> None:
    [tp] = bench.topic("deleted-since")
    bench.write(tp, 10)
    bench.delete_before(tp, 6)
    at = verdict(bench, tp, commit, begins=4)
    assert (at.verdict, at.drained) == (Drain.EXPIRED, False)
    assert (at.log_start, at.point) == (6, 10)


def test_commit_that_fell_below_the_log_start_is_expired_even_when_nothing_is_left(bench: Workbench) -> None:
    """Everything up to the point is gone: an empty log must not look like a drained group."""
    [tp] = bench.topic("all-deleted")
    bench.write(tp, 10)
    bench.delete_before(tp, 10)
    assert verdict(bench, tp, commit=4, begins=4).verdict is Drain.EXPIRED
    assert verdict(bench, tp, commit=4).verdict is Drain.EXPIRED
    assert verdict(bench, tp, commit=10, begins=4).verdict is Drain.DRAINED


def test_deletion_past_the_point_does_not_expire_a_group_that_had_reached_it(bench: Workbench) -> None:
    [tp] = bench.topic("deleted-past")
    bench.write(tp, 10)
    bench.delete_before(tp, 8)
    assert verdict(bench, tp, commit=5, point=5, begins=2).verdict is Drain.DRAINED
    assert verdict(bench, tp, commit=None, point=5, begins=5).verdict is Drain.DRAINED
    assert verdict(bench, tp, commit=None, point=5).verdict is Drain.DRAINED, "empty before it began to be watched"


def test_group_past_the_point_is_ahead(bench: Workbench) -> None:
    [tp] = bench.topic("ahead")
    bench.write(tp, 10)
    at = verdict(bench, tp, commit=9, point=6)
    assert (at.verdict, at.drained, at.left) == (Drain.AHEAD, True, 0)


def test_messages_past_the_point_do_not_matter(bench: Workbench) -> None:
    [tp] = bench.topic("past-the-point")
    bench.commit_transaction(tp, 5)
    bench.write(tp, 10)
    assert verdict(bench, tp, commit=5, point=6).verdict is Drain.DRAINED, "offset 5 is the marker"
    assert verdict(bench, tp, commit=4, point=6).verdict is Drain.BEHIND


def test_what_was_proven_before_stays_drained_when_retention_takes_it(bench: Workbench) -> None:
    [tp] = bench.topic("proven")
    bench.commit_transaction(tp, 5)
    before = verdict(bench, tp, commit=5)
    assert before.verdict is Drain.DRAINED
    point = bench.end(tp)
    bench.write(tp, 1)
    bench.delete_before(tp, 7)
    assert verdict(bench, tp, commit=5, point=point, begins=0).verdict is Drain.EXPIRED
    proof = Proof.from_json(Proof.of({tp: before}).to_json())
    proven = proof.reaches({tp: 5})[tp]
    assert verdict(bench, tp, commit=5, point=point, begins=0, proven=proven).verdict is Drain.DRAINED
    assert proof.reaches({tp: 4}) == proof.reaches({}) == {}, "it has gone back since, and reads those again"


def test_what_was_proven_says_nothing_about_a_later_point(bench: Workbench) -> None:
    """Stragglers: the point is frozen anew behind them, and the group that had drained has not read them."""
    [tp] = bench.topic("later-point")
    bench.commit_transaction(tp, 5)
    proven = Proof.of({tp: verdict(bench, tp, commit=5)}).reaches({tp: 5})[tp]
    bench.write(tp, 3)
    at = verdict(bench, tp, commit=5, proven=proven)
    assert (at.verdict, at.next, at.left) == (Drain.BEHIND, 6, 3)
    bench.delete_before(tp, 8)
    assert verdict(bench, tp, commit=5, proven=proven).verdict is Drain.EXPIRED


def test_nothing_is_proven_by_a_group_that_has_not_drained(bench: Workbench) -> None:
    one, two = bench.topic("proves-nothing", partitions=2)
    bench.write(one, 5)
    assert Proof.of({one: verdict(bench, one, commit=4), two: verdict(bench, two, commit=None)}) == Proof({}, {})


def test_group_on_its_way_is_behind_without_a_read(bench: Workbench) -> None:
    nowhere = TopicPartition("no-such-topic", 0)
    reader = Reader("group", {nowhere: 10}, {nowhere: 4}, moving=frozenset([nowhere]))
    assert judge(bench.cluster, [reader], {nowhere: 0})["group"][nowhere].verdict is Drain.BEHIND


def test_two_points_for_one_partition_are_refused(bench: Workbench) -> None:
    tp = TopicPartition("two-points", 0)
    readers = [Reader("a", {tp: 5}, {tp: 1}), Reader("b", {tp: 6}, {tp: 1})]
    with pytest.raises(ValueError, match="two cutover points for two-points/0"):
        judge(bench.cluster, readers, {tp: 0})


@pytest.mark.parametrize("seed", range(6))
def test_every_verdict_is_what_reading_everything_would_say(bench: Workbench, seed: int) -> None:
    """Random logs, points, starts and positions of many groups, against the writer's own list of what is visible."""
    chance = random.Random(seed)
    partitions = bench.topic(f"random-{seed}", partitions=3)
    visible: dict[TopicPartition, list[int]] = {}
    for tp in partitions:
        visible[tp] = []
        for _ in range(chance.randint(0, 8)):
            count = chance.randint(1, 3)
            match chance.choice(["plain", "commit", "abort"]):
                case "plain":
                    visible[tp] += bench.write(tp, count)
                case "commit":
                    visible[tp] += bench.commit_transaction(tp, count)
                case "abort":
                    bench.abort_transaction(tp, count)
        if chance.random() < 0.4 and bench.end(tp):
            bench.delete_before(tp, chance.randint(1, bench.end(tp)))
    offsets = read_several(bench.cluster, partitions, (Which.START, Which.END))
    starts = offsets[Which.START]
    points = {tp: chance.randint(starts[tp], end) for tp, end in offsets[Which.END].items()}
    readers = []
    for number in range(25):
        commits = {tp: chance.randint(0, offsets[Which.END][tp]) for tp in partitions if chance.random() < 0.8}
        begins = {tp: chance.randint(0, starts[tp]) for tp in partitions if chance.random() < 0.5}
        readers.append(Reader(f"group-{number}", points, commits, begins))
    judged = judge(bench.cluster, readers, starts)
    for reader in readers:
        for tp in partitions:
            wanted = _by_definition(reader, tp, starts[tp], visible[tp])
            assert judged[reader.group][tp].verdict is wanted, (reader, tp, starts[tp], visible[tp])


def _by_definition(reader: Reader, tp: TopicPartition, start: int, visible: list[int]) -> Drain:
    commit, point = reader.commits.get(tp), reader.points[tp]
    if commit is not None and commit >= point:
        return Drain.DRAINED if commit == point else Drain.AHEAD
    known = [o for o in (commit, reader.begins.get(tp)) if o is not None]
    stands = max(known) if known else start
    if stands < min(start, point):
        return Drain.EXPIRED
    owed = [o for o in visible if max(stands, start) <= o < point]
    if not owed:
        return Drain.DRAINED
    return Drain.BEHIND if commit is not None else Drain.NO_COMMIT


def test_many_groups_at_many_positions_cost_one_read(bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    from kafka_migration.groups import drain

    [tp] = bench.topic("crowd")
    bench.write(tp, 200)
    reads = []
    real = drain.first_visible
    monkeypatch.setattr(drain, "first_visible", lambda cluster, ranges: reads.append(1) or real(cluster, ranges))
    readers = [Reader(f"group-{n}", {tp: 200}, {tp: n}) for n in range(200)]
    judged = judge(bench.cluster, readers, {tp: 0})
    assert all(at[tp].verdict is Drain.BEHIND for at in judged.values())
    assert len(reads) == 1


class TestCompacted:
    @pytest.fixture(scope="class")
    def bench(self, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workbench]:
        settings = {"log.cleaner.backoff.ms": "100"}
        with KafkaCluster("compacting", tmp_path_factory.mktemp("compacting"), settings=settings) as cluster:
            yield Workbench(cluster.bootstrap_servers)

    def test_group_whose_next_messages_were_compacted_away_is_judged_by_what_is_left(self, bench: Workbench) -> None:
        [tp] = bench.topic("compacted", settings=compacting_settings())
        for _ in range(10):
            bench.write(tp, 1, key=b"a")
        bench.roll_segment(tp)
        eventually(lambda: bench.visible_offsets(tp) == [9], "the log to be compacted")
        for commit in (3, 9):
            assert verdict(bench, tp, commit, begins=0).verdict is Drain.BEHIND, "offset 9 is still to be read"
        assert verdict(bench, tp, commit=10, begins=0).verdict is Drain.DRAINED

    def test_tail_that_was_compacted_away_is_not_owed(self, bench: Workbench) -> None:
        """Tombstones at the tail vanish in time: the offsets stay, nothing is there."""
        [tp] = bench.topic("tombstones", settings=compacting_settings())
        bench.write(tp, 5, key=b"a")
        bench.write(tp, 1, key=b"a", value=None)
        assert verdict(bench, tp, commit=2).verdict is Drain.BEHIND, "in the active segment nothing is compacted"

        def gone() -> bool:
            bench.roll_segment(tp)
            return bench.visible_offsets(tp) == []

        eventually(gone, "the tombstone to be compacted away")
        at = verdict(bench, tp, commit=2, begins=0)
        assert (at.verdict, at.log_start) == (Drain.DRAINED, 0)


def test_real_groups_at_real_positions_are_judged_from_what_the_broker_tells(bench: Workbench) -> None:
    """The whole way: commits read in bulk, three groups on two partitions, one of them never committed."""
    one, two = bench.topic("whole", partitions=2)
    bench.commit_transaction(one, 4)
    bench.write(two, 4)
    groups = {name: f"{name}-{one.topic}" for name in ("done", "slow", "fresh")}
    set_commits(bench.cluster, {groups["done"]: {one: 4, two: 4}, groups["slow"]: {one: 4, two: 1}})
    offsets = read_several(bench.cluster, [one, two], (Which.START, Which.END))
    commits = committed(bench.cluster, groups.values())
    readers = [Reader(g, offsets[Which.END], commits[g]) for g in groups.values()]
    judged = judge(bench.cluster, readers, offsets[Which.START])
    assert {name: [judged[g][tp].verdict for tp in (one, two)] for name, g in groups.items()} == {
        "done": [Drain.DRAINED, Drain.DRAINED],
        "slow": [Drain.DRAINED, Drain.BEHIND],
        "fresh": [Drain.NO_COMMIT, Drain.NO_COMMIT],
    }


def test_group_that_has_not_moved_is_not_read_for_again_until_a_minute_has_passed(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With many groups waiting, reading for each at every look would be most of the work."""
    [tp] = bench.topic("not-read-again")
    bench.write(tp, 10)
    group = f"waits-{tp.topic}"
    set_commits(bench.cluster, {group: {tp: 9}})
    of = {"points": to_json({tp: 10}), "begins": {}, "proven": None, "reset": None}
    brief = {"service": "one", "switched": False, "growing": False, "idle_since": 0.0, "groups": {group: of}}
    clusters = Clusters(bench.cluster, bench.cluster)
    first = drained.look(clusters, brief, {}, 1000.0)
    assert first.outcome is Outcome.WAITING

    def read(*args: object) -> None:
        raise AssertionError("read again")

    with monkeypatch.context() as patch:
        patch.setattr(Cluster, "reader", read)
        again = drained.look(clusters, brief, first.memory, 1059.0)
        assert again.outcome is Outcome.WAITING
        with pytest.raises(AssertionError, match="read again"):
            drained.look(clusters, brief, again.memory, 1060.0)
    set_commits(bench.cluster, {group: {tp: 10}})
    assert drained.look(clusters, brief, again.memory, 1059.5).outcome is Outcome.DONE
