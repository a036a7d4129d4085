"""Tables of what differs: each difference where it lies, named by its side, and no more than a person reads."""

from __future__ import annotations

from dataclasses import replace

from tests.unit.test_in_order import compared
from tests.unit.test_run import a_run

from kafka_migration.offsets import TopicPartition
from kafka_migration.purposes import ROLLBACK
from kafka_migration.sides import Side
from kafka_migration.steps.differing import tables
from kafka_migration.verification.differences import SHOWN

WHOLE = list(range(300))


def test_without_a_difference_there_is_no_table() -> None:
    found = compared(WHOLE, WHOLE)
    assert tables(a_run("migrate", Side.TARGET), {found.partition: found}) == []


def test_each_difference_and_where_all_of_them_lie_are_told_by_their_side() -> None:
    found = compared(WHOLE, [*WHOLE[:100], *WHOLE[200:], -1])
    first, lie = tables(a_run("migrate", Side.TARGET), {found.partition: found})
    assert first.columns[3:5] == ("offset on the source", "offset on the target")
    assert first.rows[0][:5] == ("t/0", "missing", None, 100, None)
    assert len(first.rows) == SHOWN
    assert lie.rows == (("t/0", "missing", "source", 100, 200, 100), ("t/0", "extra", "target", 1_200, 1_201, 1))
    _, back = tables(a_run(ROLLBACK, Side.SOURCE), {found.partition: found})
    assert [row[2] for row in back.rows] == ["target", "source"]
    assert all(first.lines()), "and it can be printed"


def test_very_many_partitions_do_not_make_the_report_endless() -> None:
    found = compared(WHOLE, WHOLE[100:])
    results = {tp: replace(found, partition=tp) for n in range(100) for tp in [TopicPartition("t", n)]}
    first, lie = tables(a_run("migrate", Side.TARGET), results)
    assert (first.title, len(first.rows)) == ("The first differences, 500 of 2,000", 500)
    assert len(lie.rows) == 100
