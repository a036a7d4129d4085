"""A plan's own suites on real clusters: what is sampled of a topic, and what a verification says of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import RunningCluster
from tests.integration.scene import Daemon, Life, Town, move_all
from tests.integration.workbench import Workbench

from kafka_migration.errors import FindingsFailed
from kafka_migration.evidence.bundle import Bundle
from kafka_migration.findings import Finding, Status
from kafka_migration.offsets import TopicPartition
from kafka_migration.plan.model import Plan
from kafka_migration.purposes import VERIFY
from kafka_migration.report import StepReport
from kafka_migration.sides import Side
from kafka_migration.steps import suites, verifying
from kafka_migration.verification.newest import Sample, newest

PRESENT = {"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "value.id"}}
CHEAP = {"type": "expect_column_values_to_be_between", "kwargs": {"column": "value.amount", "max_value": 100}}


@pytest.fixture(scope="module")
def bench(target: RunningCluster) -> Workbench:
    return Workbench(target.bootstrap_servers, Side.TARGET)


class Verified:
    """A plan whose migration has finished, and what a verification says by its suites."""

    def __init__(self, town: Town, plan: Plan, life: Life, folder: Path) -> None:
        self.town, self.plan, self._life, self.folder = town, plan, life, folder
        self._bundle = Bundle(folder / "evidence", plan.plan, VERIFY, "again")

    def migrate(self) -> None:
        move_all(self.town.run(self.plan), self._life)

    def suite(self, content: Any) -> None:
        text = content if isinstance(content, str) else json.dumps({"name": "any", "expectations": content})
        (self.folder / "own.json").write_text(text)

    def judged(self, topic: str, step: Callable[..., StepReport] = suites.judge, **keys: Any) -> StepReport:
        """What a step says with a plan that has the suite for that topic."""
        entry = {"topic": topic, "suite": "own.json", "messages": keys.pop("messages", 1000)}
        plan = Plan.model_validate(
            {
                **self.plan.model_dump(exclude_unset=True),
                "topics": {"include": [".*"]},
                "verify": {"suites": [entry]},
                **keys,
            }
        )
        documents = self._bundle.local_folder("data_docs")
        run = self.town.run(plan, "again", VERIFY, suites=self.folder, leave=self._bundle.leave, documents=documents)
        try:
            return step(run)
        except FindingsFailed as failed:
            return failed.report or StepReport()

    def write(self, tp: TopicPartition, *values: dict[str, Any] | bytes | None) -> list[int]:
        encoded = [json.dumps(value).encode() if isinstance(value, dict) else value for value in values]
        return [self.town.target.write(tp, value=value)[0] for value in encoded]


@pytest.fixture(scope="module")
def verified(
    source: RunningCluster, target: RunningCluster, daemon: Daemon, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Verified]:
    with Town.of(source.bootstrap_servers, target.bootstrap_servers, daemon) as town:
        [topic] = town.topic(town.named("moved"))
        group = town.named("reader")
        plan = town.plan([town.service("one", [topic]), town.service("two", (), {group: [topic]})])
        life = Life(town, plan)
        life.turns(2)
        one = Verified(town, plan, life, tmp_path_factory.mktemp("suites"))
        one.suite([PRESENT])
        assert one.judged(topic.topic).summary == "nothing to verify yet: no migration of this plan has finished"
        one.migrate()
        yield one


def found(report: StepReport) -> dict[str, tuple[Status, str]]:
    return {finding.id: (finding.status, finding.seen) for finding in report.findings}


def test_expectations_pass_and_fail_by_count_and_place(verified: Verified) -> None:
    first, second = verified.town.target.topic("orders", partitions=2)
    verified.write(first, *({"id": n, "amount": n} for n in range(3)))
    [dear] = verified.write(first, {"id": 3, "amount": 101})
    [nobody, nothing] = verified.write(second, {"id": None, "amount": 4}, {"amount": None})
    verified.suite([PRESENT, CHEAP, {**CHEAP, "kwargs": {**CHEAP["kwargs"], "column": "value.weight"}}])
    topic = first.topic
    report = verified.judged(topic)
    assert found(report) == {
        f"suite/{topic}/1-expect_column_values_to_not_be_null": (
            Status.FAIL,
            f"broken by 2 of 6 sampled messages: {second}@{nobody}, {second}@{nothing}",
        ),
        f"suite/{topic}/2-expect_column_values_to_be_between": (
            Status.FAIL,
            f"broken by 1 of 6 sampled messages: {first}@{dear}",
        ),
        f"suite/{topic}/3-expect_column_values_to_be_between": (
            Status.INCONCLUSIVE,
            "no sampled message has value.weight",
        ),
    }
    verified.suite([{**CHEAP, "kwargs": {**CHEAP["kwargs"], "max_value": 101}}])
    report = verified.judged(topic)
    assert [f.status for f in report.findings] == [Status.PASS]
    assert report.summary == "6 messages of 1 topics are as their suites say"
    evidence = verified.folder / "evidence"
    assert [file.read_text() for file in evidence.rglob(f"suite-{topic}.json")] == [
        (verified.folder / "own.json").read_text()
    ]
    [page] = [note.rpartition(": ")[2] for note in report.notes if note.startswith("Data Docs of ")]
    assert Path(page).is_file()


def test_finding_that_is_accepted_by_its_id_stops_nothing(verified: Verified) -> None:
    [tp] = verified.town.target.topic("accepted")
    verified.write(tp, {"id": 1})
    verified.suite([CHEAP])
    accepted = {"finding": f"suite/{tp.topic}/1-expect_column_values_to_be_between", "reason": "not sent yet"}
    assert [f.stops for f in verified.judged(tp.topic).findings] == [True]
    assert [f.stops for f in verified.judged(tp.topic, accept=[accepted]).findings] == [False]


def test_tombstones_and_messages_that_are_no_json_have_no_fields(verified: Verified) -> None:
    [tp] = verified.town.target.topic("texts")
    offsets = verified.write(tp, {"id": 1}, None, b"a text", b"\xff\xfe")
    text = {"type": "expect_column_values_to_match_regex", "kwargs": {"column": "value", "regex": "^(a text|0xfffe)$"}}
    verified.suite([PRESENT, text])
    assert [f.seen for f in verified.judged(tp.topic).findings] == [
        "broken by 3 of 4 sampled messages: " + ", ".join(f"{tp}@{offset}" for offset in offsets[1:]),
        f"broken by 1 of 4 sampled messages: {tp}@{offsets[0]}",
    ]


def test_topic_without_a_visible_message_or_not_there_is_inconclusive(verified: Verified) -> None:
    [tp] = verified.town.target.topic("empty")
    verified.suite([PRESENT])
    nothing = (Status.INCONCLUSIVE, "no message is visible on the target")
    assert found(verified.judged(tp.topic)) == {f"suite/{tp.topic}/sample": nothing}
    verified.town.target.abort_transaction(tp, 3)
    assert found(verified.judged(tp.topic)) == {f"suite/{tp.topic}/sample": nothing}
    assert found(verified.judged("nowhere")) == {
        "suite/nowhere/sample": (Status.INCONCLUSIVE, "the topic is not on the target")
    }


def test_file_that_is_no_suite_is_told_by_the_first_step_and_by_its_own(verified: Verified) -> None:
    [tp] = verified.town.target.topic("unread")
    verified.write(tp, {"id": 1})
    verified.suite("{")
    for step in (verifying.drift, suites.judge):
        [told] = [f for f in verified.judged(tp.topic, step).findings if f.id == f"suite-file/{tp.topic}"]
        assert told.status is Status.FAIL
        assert told.seen.startswith(
            f"verify: suites: {tp.topic}: suite: {verified.folder / 'own.json'}: line 1, column 2: not JSON"
        )
    verified.suite([PRESENT])
    told = verified.judged(tp.topic, verifying.drift)
    assert Finding(f"suite-file/{tp.topic}", Status.PASS, "own.json: 1 expectations") in told.findings


# -- what is sampled


def offsets(sample: Sample) -> list[tuple[int, int]]:
    return [(message.partition, message.offset) for message in sample.messages]


def expected(written: dict[TopicPartition, Sequence[int]]) -> list[tuple[int, int]]:
    return sorted((tp.partition, offset) for tp, offsets in written.items() for offset in offsets)


def test_newest_messages_are_sampled_and_spread_over_partitions(bench: Workbench) -> None:
    wide = bench.topic("spread", partitions=3)
    written = {tp: bench.write(tp, count) for tp, count in zip(wide, (50, 2, 50), strict=True)}
    newest_of = {tp: written[tp][-count:] for tp, count in zip(wide, (9, 2, 9), strict=True)}
    assert offsets(newest(bench.cluster, wide, 20)) == expected(newest_of)
    assert offsets(newest(bench.cluster, wide, 1000)) == expected(written)


def test_aborted_messages_are_not_sampled_and_others_are_found_behind_them(bench: Workbench) -> None:
    wide = bench.topic("aborted", partitions=2)
    busy, quiet = wide
    kept = [bench.write(busy, 1)[0] for _ in range(6) if bench.abort_transaction(busy, 20) is None]
    bench.abort_transaction(busy, 200)
    other = bench.commit_transaction(quiet, 3)
    assert offsets(newest(bench.cluster, wide, 4)) == expected({busy: kept[-2:], quiet: other[-2:]})
    assert offsets(newest(bench.cluster, wide, 8)) == expected({busy: kept[-5:], quiet: other})
    assert offsets(newest(bench.cluster, wide, 100)) == expected({busy: kept, quiet: other})


def test_what_a_partition_cannot_give_others_give_without_a_gap(bench: Workbench) -> None:
    """How little the two short ones have shows only while they are read, of one sooner than of the other."""
    wide = bench.topic("gaps", partitions=3)
    written = {tp: bench.write(tp, count) for tp, count in zip(wide, (3, 3, 100), strict=True)}
    for tp, count in zip(wide, (12, 60), strict=False):
        bench.abort_transaction(tp, count)
    newest_of = {tp: written[tp][-24:] for tp in wide}
    assert offsets(newest(bench.cluster, wide, 30)) == expected(newest_of)


def test_messages_behind_an_open_transaction_are_not_sampled_and_not_waited_for(bench: Workbench) -> None:
    [tp] = bench.topic("held")
    before = bench.write(tp, 5)
    with bench.open_transaction(tp, 2):
        bench.write(tp, 5)
        assert offsets(newest(bench.cluster, [tp], 3)) == expected({tp: before[-3:]})


def test_what_retention_has_deleted_is_not_asked_for(bench: Workbench) -> None:
    [tp] = bench.topic("cut-off")
    written = bench.write(tp, 10)
    bench.delete_before(tp, 7)
    assert offsets(newest(bench.cluster, [tp], 100)) == expected({tp: written[7:]})
    bench.delete_before(tp, 10)
    assert newest(bench.cluster, [tp], 100) == Sample((), cut=False)


def test_large_messages_make_a_small_sample_but_never_none(bench: Workbench) -> None:
    wide = bench.topic("large", partitions=2)
    large, small = wide
    big = bench.write(large, 8, value=b"x" * 10_000)
    little = bench.write(small, 8)
    sample = newest(bench.cluster, wide, 16, most_bytes=50_000)
    assert offsets(sample) == expected({large: big[-2:], small: little})
    assert sample.cut
    assert offsets(newest(bench.cluster, wide, 16, most_bytes=1)) == expected({large: big[-1:], small: little[-1:]})
    assert not newest(bench.cluster, wide, 16).cut


def test_message_is_sampled_as_it_lies(bench: Workbench) -> None:
    [tp] = bench.topic("as-it-lies")
    bench.write(tp, key=b"\x00\xff", value=None)
    [message] = newest(bench.cluster, [tp], 1).messages
    assert (message.partition, message.offset, message.key, message.value) == (0, 0, b"\x00\xff", None)
    assert message.timestamp is not None
    assert message.timestamp > 1_700_000_000_000
