"""When a group keeps up: reading is compared with writing over some seconds, not by how much is left."""

from __future__ import annotations

import pytest

from kafka_migration.offsets import TopicPartition, Which
from kafka_migration.steps.consuming import _backlog, _growing

ONE, TWO = TopicPartition("orders", 0), TopicPartition("orders", 1)


def after(seconds: float, written: float, read: float) -> str | None:
    """What is said when so much was written and read in that time, 10,000 offsets behind from the beginning."""
    return _growing([[100.0, 50_000, 40_000], [100.0 + seconds, 50_000 + written, 40_000 + read]])


def test_nothing_is_said_before_some_seconds_were_watched() -> None:
    assert after(2.9, 0, 0) == "reads; whether it keeps up is not known yet"
    assert _growing([[100.0, 5, 5]]) == "reads; whether it keeps up is not known yet"


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (3000, 3000),
        (3000, 9000),  # it works off what is left
        (3000, 2700),  # commits come in batches
        (0, 0),  # nothing is written, and nothing new is owed
    ],
)
def test_group_that_reads_as_fast_as_is_written_keeps_up_however_much_is_left(written: int, read: int) -> None:
    assert after(3.0, written, read) is None


@pytest.mark.parametrize(("written", "read"), [(3000, 0), (3000, 2699), (1, 0)])
def test_group_whose_backlog_grows_falls_behind_and_both_rates_are_told(written: int, read: int) -> None:
    said = after(3.0, written, read)
    assert said is not None
    assert said.startswith("falls behind: ")
    assert f"{written / 3:,.0f} offsets/s are written" in said
    assert f"{read / 3:,.0f} read" in said


def test_group_that_commits_to_an_earlier_offset_falls_behind() -> None:
    assert (after(3.0, 0, -10) or "").startswith("falls behind")


def test_what_is_compared_is_the_sum_over_the_partitions_and_an_uncommitted_one_stands_at_its_seed() -> None:
    ends = {Which.END: {ONE: 30, TWO: 12, TopicPartition("others", 0): 99}}
    assert _backlog((), {ONE: 10, TWO: 5}, {ONE: 25}, ends, 7.0) == [[7.0, 42, 30]]


def test_only_the_last_seconds_are_compared() -> None:
    samples: list[list[float]] = []
    for second in range(60):
        # In the first half it stands still, in the second it keeps up.
        read = 10 * max(0, second - 30)
        ends = {Which.END: {ONE: 10 * second}}
        samples = _backlog(samples, {ONE: 0}, {ONE: read}, ends, float(second))
        if second in (3, 30):
            assert (_growing(samples) or "").startswith("falls behind")
    assert _growing(samples) is None
    assert len(samples) <= 5, "memory stays flat"
    assert samples[-1][0] - samples[0][0] >= 3.0
