"""Each benchmark of the mirror with little data: it runs, and refuses to tell a number of copies that are not whole."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from benchmarks import content, copying, first_record, handover, parsing, scale, standstill, verification
from benchmarks.__main__ import main
from benchmarks.failed import BenchmarkFailed
from benchmarks.many import Many, Size
from benchmarks.pair import Pair, check_count, two_clusters
from rich.console import Console
from tests.conftest import RunningCluster

from demo.waiting import patience
from kafka_migration.clusters.client import Cluster
from kafka_migration.mirror.rest import Connect
from kafka_migration.sides import Side


@pytest.fixture(scope="module")
def pair(source: RunningCluster, target: RunningCluster, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    clusters = (
        Cluster(side, side.value, {"bootstrap.servers": one.bootstrap_servers})
        for side, one in ((Side.SOURCE, source), (Side.TARGET, target))
    )
    return Pair(*clusters, tmp_path_factory.mktemp("bench"))


@pytest.fixture(scope="module")
def connect(pair: Pair) -> Iterator[Connect]:
    with pair.worker() as one:
        yield one


def test_every_way_of_copying_copies_all(pair: Pair, connect: Connect) -> None:
    """On one worker: whether it copies exactly once changes the rates, not what is run."""
    rates = copying.measure(Console(quiet=True), pair, {True: connect, False: connect}, copying.Load(2_000, 100), 1)
    assert set(rates) == set(copying.WAYS)
    assert all(rate > 0 for (rate,) in rates.values())


def test_every_way_of_reading_reads_all(pair: Pair) -> None:
    found = content.measure(Console(quiet=True), pair, content.Load(2_001, 100), 1)
    assert all(rate > 0 for way in content.WAYS for rate in found[way].rates)


def test_verification_of_little_that_is_new_reads_all_of_it(pair: Pair) -> None:
    found = verification.measure(pair, content.Load(2_000, 100), 20, 1)
    assert found.memory_all > 0
    assert min(found.offsets, found.full, found.incremental) > 0


def test_copy_that_lacks_a_message_is_no_measurement(pair: Pair) -> None:
    with pair.topic("counted", 2, 10) as partitions:
        check_count(pair.source, partitions, 10)
        with pytest.raises(BenchmarkFailed, match="10 messages of counted are visible on the source, not 11"):
            check_count(pair.source, partitions, 11)


def test_every_position_is_mapped_and_proved(pair: Pair, connect: Connect) -> None:
    found = handover.measure(pair, connect, handover.Sizes(groups=3, partitions=2, messages=400))
    assert [one.positions for one in found] == [6, 6, 6]
    assert [dict(one.verdicts) for one in found] == [{"at the end": 6}, {"exact": 6}, {"exact": 6}]


def test_producer_stands_still_for_the_length_of_the_steps(pair: Pair, connect: Connect) -> None:
    [found] = standstill.measure(pair, connect, [500])
    assert found.stored == 500
    assert max(found.steps.values()) < found.standstill < sum(found.steps.values()) + 1.0 * patience()


def test_first_message_is_waited_for_each_time(pair: Pair, connect: Connect) -> None:
    found = first_record.measure(pair, connect, 1)
    assert all(0 < seconds < 60 for (seconds,) in found.values())
    assert len(found) == 3


def test_every_step_is_timed_and_the_lag_is_that_of_kafkas_own_tool() -> None:
    """On clusters of its own: the tool tells of all groups that there are."""
    with two_clusters() as fresh:
        found = scale.measure(fresh, Many(Size(20)), 1)
    assert set(found.seconds) == set(scale.STEPS)
    assert min(found.seconds.values()) > 0
    assert 0 < found.java < found.command


def test_lag_that_is_not_kafkas_own_is_no_measurement() -> None:
    many = Many(Size(20))
    scale.same_lag(many, many.lag, many.lag)
    for other in ({**many.lag, "group-0001": 4}, {"group-0000": 3}, {**many.lag, "group-0002": 3}):
        with pytest.raises(BenchmarkFailed, match="Kafka's own tool tells of"):
            scale.same_lag(many, many.lag, other)


def test_every_plan_becomes_dags_and_each_file_is_told() -> None:
    told = io.StringIO()
    parsing.run(Console(file=told, width=120), 0.04)
    assert "4 plans of all schemes" in told.getvalue()
    files = ("failover.py", "producers_later.py", "verify.py", "together")
    assert [name for name in files if name not in told.getvalue()] == []


def test_file_that_cannot_be_parsed_is_named_with_its_reason(tmp_path: Path) -> None:
    (tmp_path / "faulty.py").write_text("# an Airflow DAG\nraise ValueError('no such scheme')\n")
    with pytest.raises(BenchmarkFailed, match=r"(?s)faulty\.py.*no such scheme"):
        parsing.measure(4, 1, tmp_path)


def test_sizes_are_whole_topics() -> None:
    assert scale.sizes(1) == [10, 100, 1_000, 10_000]
    assert scale.sizes(0.0015) == [10]
    assert [scale.sizes(0.0119), scale.sizes(0.1)] == [[10, 100, 110], [10, 100, 1_000]]


@pytest.mark.parametrize("factor", ["0", "-1", "inf", "nan", "much"])
def test_factor_that_is_none_is_refused_with_what_there_is(factor: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ONLY=scale", f"SCALE={factor}"]) == 2
    assert "parsing" in capsys.readouterr().out
