"""Up to where the copies of a running mirror are compared. The broker's answers are made up.

No broker can be brought to tell of a stable offset that is none: a transaction must begin between two reads of its own.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import pytest

from kafka_migration.clusters.client import Cluster
from kafka_migration.offsets import TopicPartition, Which
from kafka_migration.sides import Side
from kafka_migration.steps import copies

TP = TopicPartition("copies", 0)


@pytest.mark.parametrize(
    ("written", "told", "end"),
    [
        (4, [4, 4], 4),
        (9, [9, 4, 4, 10, 10], 10),  # the first answer: a transaction began while it was asked
        (4, [4, 9, 4], 4),
        (9, [4, 4, 9, 9], 9),
        (9, [4], 9),  # it stays open: whoever reads says so, and takes nothing for missing
    ],
)
def test_end_is_what_can_be_read(monkeypatch: pytest.MonkeyPatch, written: int, told: Sequence[int], end: int) -> None:
    answers = iter(told)

    def read_offsets(_: Cluster, partitions: Collection[TopicPartition], which: Which) -> dict[TopicPartition, int]:
        return dict.fromkeys(partitions, written if which is Which.END else next(answers, told[-1]))

    monkeypatch.setattr(copies, "read_offsets", read_offsets)
    monkeypatch.setattr(copies, "PASSES_WITHIN", 0.2)
    assert copies._visible_ends(Cluster(Side.TARGET, "kafka_target", {}), [TP]) == {TP: end}
