"""The exact handover on real logs: each case maps 400 random positions, and each answer is right or refused."""

from __future__ import annotations

import contextlib
import random
import threading
from collections.abc import Iterator

import pytest
from tests.conftest import RunningCluster
from tests.integration.copying import Copied, producer, send, visible
from tests.integration.workbench import Workbench, compacting_settings, eventually

from demo.kafka import KafkaCluster
from kafka_migration.mirror.handover import Position, map_positions, prove_end
from kafka_migration.mirror.placing import BLOCKED, Verdict
from kafka_migration.offsets import Which, read_offsets
from kafka_migration.sides import Side
from kafka_migration.topics.create import set_settings

POSITIONS = 400
MESSAGES = 1_000
PROVED = {Verdict.EXACT, Verdict.AT_END}


@pytest.fixture(scope="module")
def here(source: RunningCluster) -> Workbench:
    return Workbench(source.bootstrap_servers)


@pytest.fixture(scope="module")
def there(target: RunningCluster) -> Workbench:
    return Workbench(target.bootstrap_servers, Side.TARGET)


@pytest.fixture
def chance() -> random.Random:
    return random.Random(11)


@pytest.fixture
def copied(here: Workbench, there: Workbench) -> Copied:
    return Copied.new(here, there)


@pytest.fixture
def mixed(copied: Copied, chance: random.Random) -> Copied:
    """An origin of plain messages, committed and aborted transactions, its copies written in transactions as well."""
    copied.fill(MESSAGES, chance, transactions=True)
    copied.copy(transactional=True)
    return copied


def anywhere(copied: Copied, chance: random.Random, count: int = POSITIONS) -> list[int]:
    """From before the log's start to behind its end; the edges always."""
    start, end = read_offsets(copied.source.cluster, [copied.tp], Which.START)[copied.tp], copied.end[0]
    return [0, start, end - 1, end, end + 7, *chance.choices(range(end + 5), k=count)]


class TestWholeCopies:
    """Every position is proved."""

    @pytest.mark.parametrize("exactly_once", [False, True], ids=["plainly", "exactly once"])
    @pytest.mark.parametrize("transactions", [False, True], ids=["plain origin", "transactions and aborts"])
    def test_every_position_is_proved(
        self, copied: Copied, chance: random.Random, transactions: bool, exactly_once: bool
    ) -> None:
        copied.fill(MESSAGES, chance, transactions)
        copied.copy(transactional=exactly_once)
        found = copied.judged(anywhere(copied, chance))
        assert set(found) == PROVED, found
        assert found[Verdict.EXACT] > 350

    def test_every_single_offset_of_a_mixed_log_is_proved(self, mixed: Copied) -> None:
        """Inside of transactions, at markers and among aborted messages as well."""
        ends = mixed.end
        assert ends[0] > MESSAGES * 1.3, "the origin must hold aborted messages"
        assert ends[1] > len(mixed.images) + 20, "the destination must hold markers"
        assert set(mixed.judged(range(ends[0] + 3))) == PROVED

    @pytest.mark.parametrize("every", [5_000, None], ids=["every 5000th", "none"])
    def test_few_syncs_or_none_only_mean_more_to_read(
        self, copied: Copied, chance: random.Random, every: int | None
    ) -> None:
        copied.fill(12_000, chance)
        copied.copy(every=every, transactional=True)
        assert set(copied.judged(anywhere(copied, chance))) == PROVED

    def test_equal_messages_are_told_apart_by_counting(self, copied: Copied, chance: random.Random) -> None:
        copied.fill(MESSAGES, chance, transactions=True, alike=True)
        copied.copy(transactional=True)
        assert set(copied.judged(anywhere(copied, chance))) == PROVED

    def test_destination_that_stamps_messages_anew_is_compared_without_timestamps(
        self, here: Workbench, there: Workbench, chance: random.Random
    ) -> None:
        copied = Copied.new(here, there, there={"message.timestamp.type": "LogAppendTime"})
        copied.fill(MESSAGES, chance, transactions=True)
        copied.copy()
        assert set(copied.judged(anywhere(copied, chance), stamped=True)) == PROVED
        assert Verdict.EXACT not in copied.judged(anywhere(copied, chance)), "a timestamp counts unless it is left out"

    def test_destination_that_was_not_empty_is_read_from_where_the_copies_begin(
        self, copied: Copied, chance: random.Random
    ) -> None:
        copied.fill(MESSAGES, chance)
        older = visible(copied.source, copied.tp)[:100]
        send(
            producer(copied.target),
            copied.tp,
            [(m.key(), m.value(), m.headers() or [], m.timestamp()[1]) for m in older],
        )
        copied.begin = (0, 100)
        copied.copy()
        assert set(copied.judged(anywhere(copied, chance))) == PROVED

    def test_syncs_of_an_earlier_mirror_are_not_believed(self, copied: Copied, chance: random.Random) -> None:
        copied.fill(MESSAGES, chance, transactions=True)
        copied.tell([(i * 90, i * 35) for i in range(12)])
        copied.copy()
        assert set(copied.judged(anywhere(copied, chance))) == PROVED


class TestOriginThatHasDeleted:
    def test_what_was_deleted_before_the_copy_was_never_owed(self, copied: Copied, chance: random.Random) -> None:
        copied.fill(MESSAGES, chance, transactions=True)
        copied.source.delete_before(copied.tp, 333)
        copied.begin = (333, 0)
        copied.copy(first=333, transactional=True)
        assert set(copied.judged(anywhere(copied, chance))) == PROVED

    @pytest.mark.parametrize("alike", [False, True], ids=["different messages", "equal messages"])
    def test_what_was_deleted_after_the_copy_is_not_needed(
        self, copied: Copied, chance: random.Random, alike: bool
    ) -> None:
        copied.fill(MESSAGES, chance, transactions=True, alike=alike)
        copied.copy(transactional=True)
        copied.source.delete_before(copied.tp, 777)
        found = copied.judged(anywhere(copied, chance))
        assert set(found) == PROVED, found

    def test_where_everything_was_deleted_the_group_goes_on_at_the_end(self, mixed: Copied) -> None:
        mixed.source.delete_before(mixed.tp, mixed.end[0])
        assert mixed.judged([0, 10, mixed.end[0]]) == {Verdict.AT_END: 3}


class TestCompactedOrigin:
    @pytest.fixture(scope="class")
    def compacting(self, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workbench]:
        settings = {"log.cleaner.backoff.ms": "100"}
        with KafkaCluster("compacting", tmp_path_factory.mktemp("compacting"), settings=settings) as cluster:
            yield Workbench(cluster.bootstrap_servers)

    @pytest.fixture
    def copied(self, compacting: Workbench, there: Workbench, chance: random.Random) -> Copied:
        """Not compacted until `compact` is called."""
        held = {**compacting_settings(), "min.compaction.lag.ms": str(2**62), "max.compaction.lag.ms": str(2**63 - 1)}
        copied = Copied.new(compacting, there, here=held)
        copied.fill(MESSAGES, chance, transactions=True)
        return copied

    def test_holes_that_the_copy_never_had_are_only_holes(self, copied: Copied, chance: random.Random) -> None:
        compact(copied)
        copied.copy(transactional=True)
        found = copied.judged(anywhere(copied, chance))
        assert set(found) == PROVED, found

    def test_position_is_found_among_copies_of_what_was_compacted_since(
        self, copied: Copied, chance: random.Random
    ) -> None:
        copied.copy(transactional=True)
        compact(copied)
        found = copied.judged(anywhere(copied, chance), compacted=True)
        assert set(found) == PROVED, found

    def test_next_message_may_lie_behind_many_anchors(self, copied: Copied, chance: random.Random) -> None:
        """The messages at the anchors have been compacted, with all that was between them."""
        keys = [f"hot-{number % 40}".encode() for number in range(400)]
        again = [(key, f"{number}".encode(), [], 1_700_000_000_000) for number, key in enumerate(keys)]
        send(producer(copied.source), copied.tp, again)
        copied.copy(every=3)
        compact(copied)
        assert set(copied.judged(anywhere(copied, chance), compacted=True)) == PROVED


def compact(copied: Copied) -> None:
    """Compact the origin now; its last segment stays as it is."""
    before = visible(copied.source, copied.tp)
    keys = {m.key() for m in before}
    set_settings(copied.source.cluster, {copied.tp.topic: {"min.compaction.lag.ms": "0"}})
    copied.source.roll_segment(copied.tp)
    eventually(lambda: len(visible(copied.source, copied.tp)) <= len(keys), "the origin to be compacted")
    assert len(keys) < len(before) * 0.8


class TestCopiesThatAreNotWhole:
    """What happens to copies outside of exactly-once: proved or refused, never wrong."""

    @pytest.mark.parametrize("alike", [False, True], ids=["different messages", "equal messages"])
    @pytest.mark.parametrize("told", [True, False], ids=["told by the syncs", "not told"])
    def test_of_what_was_copied_twice_the_later_copy_counts(
        self, copied: Copied, chance: random.Random, told: bool, alike: bool
    ) -> None:
        copied.fill(MESSAGES, chance, transactions=True, alike=alike)
        end = copied.end[0]
        copied.copy(upto=int(end * 0.7))
        copied.copy(first=int(end * 0.4), every=100 if told else None)
        found = copied.judged(anywhere(copied, chance), untold=not told)
        assert set(found) <= {*PROVED, Verdict.REPEATS}, found
        if told:
            assert found[Verdict.EXACT] > 300, found

    def test_killed_three_times_in_one_window(self, copied: Copied, chance: random.Random) -> None:
        copied.fill(MESSAGES, chance)
        for begins, killed in ((0, 300), (250, 350), (280, 500)):
            copied.copy(first=begins, upto=killed)
        copied.copy(first=480, every=None)
        found = copied.judged(anywhere(copied, chance))
        assert set(found) <= {*PROVED, Verdict.REPEATS}, found

    @pytest.mark.parametrize("alike", [False, True], ids=["another message", "an equal message"])
    def test_message_of_somebody_else_is_counted_and_told(
        self, copied: Copied, chance: random.Random, alike: bool
    ) -> None:
        copied.fill(MESSAGES, chance, alike=alike)
        foreign = (b"k", b"v" if alike else b"foreign", [], 1_700_000_000_000)
        written: list[int] = []

        def write_once(offset: int) -> None:
            if offset > 600 and not written:
                written.extend(send(producer(copied.target), copied.tp, [foreign]))

        copied.copy(every=400, each=write_once)
        found = copied.judged(anywhere(copied, chance))
        assert found[Verdict.REPEATS] > 0, found
        assert set(found) == {*PROVED, Verdict.REPEATS}, found
        assert found[Verdict.EXACT] > 200, "windows without it are proved"

    def test_lost_message_is_never_skipped_in_silence(self, copied: Copied, chance: random.Random) -> None:
        copied.fill(MESSAGES, chance)
        copied.copy(every=400, without=[610])
        lost, before, behind = copied.map([610, 605, 611])
        assert (lost.verdict, lost.destination_offset) == (Verdict.UNPROVED, None)
        assert (before.verdict, before.destination_offset) == (Verdict.UNPROVED, None)
        assert "not behind it the message at offset 610" in before.proof
        assert (behind.verdict, behind.destination_offset) == (Verdict.EXACT, copied.images[611][0])
        assert "on the origin" in behind.proof, "that the counts differ is told"
        found = copied.judged([o for o in anywhere(copied, chance) if not 400 <= o <= 610])
        assert set(found) == PROVED, found

    def test_lost_message_among_equal_ones_is_refused(self, copied: Copied, chance: random.Random) -> None:
        copied.fill(MESSAGES, chance, alike=True)
        copied.copy(every=400, without=[610])
        found = copied.judged([o for o in anywhere(copied, chance) if o != 610])
        assert Verdict.EXACT not in copied.judged([*range(401, 610), *range(611, 800)]), found
        assert found[Verdict.EXACT] > 200

    def test_copies_that_the_destination_has_deleted_are_told(self, mixed: Copied, chance: random.Random) -> None:
        kept = mixed.images[sorted(mixed.images)[600]][0]
        mixed.target.delete_before(mixed.tp, kept)
        offsets = anywhere(mixed, chance)
        for mapped, (_, copies) in zip(mixed.map(offsets), mixed.truths(offsets), strict=True):
            if copies[0] >= kept:
                assert mapped.proved, mapped
                assert mapped.destination_offset == copies[0], mapped
            else:
                assert (mapped.verdict, mapped.destination_offset) == (Verdict.UNPROVED, None), mapped
                assert "deleted there" in mapped.proof

    def test_mirror_that_stopped_too_early_proves_nothing_behind_its_last_sync(
        self, copied: Copied, chance: random.Random
    ) -> None:
        copied.fill(MESSAGES, chance, transactions=True)
        copied.copy(upto=900)
        *_, (last, _), _ = copied.anchors().pairs
        for mapped in copied.map(anywhere(copied, chance)):
            verdict = Verdict.EXACT if mapped.origin_offset < last else Verdict.UNPROVED
            assert mapped.verdict is verdict, mapped


class TestRehearsal:
    """While the mirror copies."""

    @pytest.mark.parametrize("exactly_once", [False, True], ids=["plainly", "exactly once"])
    def test_what_is_copied_is_proved_and_the_rest_is_for_later(
        self, copied: Copied, chance: random.Random, exactly_once: bool
    ) -> None:
        copied.fill(MESSAGES, chance, transactions=True)
        copied.copy(upto=900, transactional=exactly_once)
        offsets = anywhere(copied, chance)
        for mapped, (message, copies) in zip(copied.map(offsets, ended=False), copied.truths(offsets), strict=True):
            if message is not None and copies:
                assert (mapped.verdict, mapped.destination_offset) == (Verdict.EXACT, copies[0]), mapped
            else:
                assert (mapped.verdict, mapped.destination_offset) == (Verdict.NOT_YET, None), mapped

    def test_transaction_that_is_open_is_for_later(self, copied: Copied, chance: random.Random) -> None:
        copied.fill(200, chance)
        copied.copy(upto=150)
        with copied.source.open_transaction(copied.tp):
            found = copied.map([100, 149, 150, 199, copied.end[0]], ended=False)
        assert [m.verdict for m in found] == [Verdict.EXACT] * 2 + [Verdict.NOT_YET] * 3

    def test_what_is_left_of_a_transaction_is_waited_for_where_nobody_writes_any_more(
        self, copied: Copied, chance: random.Random
    ) -> None:
        copied.fill(50, chance)
        copied.copy()
        with contextlib.ExitStack() as left:
            left.enter_context(copied.target.open_transaction(copied.tp))
            anchors = {copied.tp: copied.anchors()}  # they end behind it
            clusters, positions = (
                (copied.source.cluster, copied.target.cluster),
                [Position("g", copied.tp, copied.end[0])],
            )
            [blocked] = map_positions(*clusters, anchors, positions)
            assert (blocked.verdict, blocked.proof) == (Verdict.NOT_YET, BLOCKED)
            ends = threading.Timer(1.5, left.close)
            ends.start()
            [waited] = map_positions(*clusters, anchors, positions, patience=30)
            ends.join()
        assert waited.verdict is Verdict.AT_END, waited

    def test_so_is_it_where_the_ends_are_proved(self, copied: Copied, chance: random.Random) -> None:
        copied.fill(10, chance)
        copied.copy()
        with contextlib.ExitStack() as left:
            left.enter_context(copied.target.open_transaction(copied.tp))
            clusters = copied.source.cluster, copied.target.cluster
            ends = {copied.tp: copied.end[0]}, {copied.tp: copied.end[1]}
            assert prove_end(*clusters, *ends)[copied.tp].blocked
            over = threading.Timer(1.5, left.close)
            over.start()
            assert prove_end(*clusters, *ends, patience=30)[copied.tp].equal
            over.join()


class TestGroups:
    def test_positions_of_many_groups_and_partitions_come_in_their_order(
        self, here: Workbench, there: Workbench, chance: random.Random
    ) -> None:
        many = [Copied.new(here, there) for _ in range(3)]
        for copied in many:
            copied.fill(300, chance)
            copied.copy()
        positions = [Position(f"g{i}", chance.choice(many).tp, chance.randrange(310)) for i in range(100)]
        found = map_positions(here.cluster, there.cluster, {c.tp: c.anchors() for c in many}, positions)
        assert [(m.group, m.partition, m.origin_offset) for m in found] == [
            (p.group, p.partition, p.offset) for p in positions
        ]
        assert all(m.proved for m in found)

    def test_partition_to_which_nothing_was_written_goes_on_at_its_end(self, copied: Copied) -> None:
        assert copied.judged([0, 5]) == {Verdict.AT_END: 2}


class TestEnds:
    """Whether the mirror has copied exactly to the end."""

    @staticmethod
    def ends(copied: Copied, back: int = 0) -> bool:
        up, down = copied.end
        found = prove_end(copied.source.cluster, copied.target.cluster, {copied.tp: up - back}, {copied.tp: down})
        return found[copied.tp].equal

    def test_the_last_visible_message_is_the_same(self, mixed: Copied) -> None:
        mixed.source.abort_transaction(mixed.tp, 100)  # further than the first step back
        assert self.ends(mixed)
        mixed.source.write(mixed.tp)
        assert not self.ends(mixed)
        assert self.ends(mixed, back=1)

    def test_nothing_left_on_the_origin_owes_nothing(self, mixed: Copied) -> None:
        assert self.ends(mixed)
        mixed.source.delete_before(mixed.tp, mixed.end[0])
        assert self.ends(mixed)

    def test_copy_that_is_missing_or_not_committed_is_not_the_end(self, copied: Copied, chance: random.Random) -> None:
        copied.fill(10, chance)
        assert not self.ends(copied)
        copied.copy()
        for side in (copied.source, copied.target):
            with side.open_transaction(copied.tp):
                assert not self.ends(copied)
            eventually(lambda: self.ends(copied), "the transaction to be aborted")
