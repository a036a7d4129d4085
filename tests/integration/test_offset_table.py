"""The table of a copy on real logs, looked up as the documentation says: each offset leads to its next message."""

from __future__ import annotations

import random
import re
from bisect import bisect_left
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import RunningCluster
from tests.integration.copying import Copied, producer, send, visible
from tests.integration.workbench import Workbench

from kafka_migration.mirror import table
from kafka_migration.mirror.table import Row, as_csv, read_table
from kafka_migration.sides import Side

MESSAGES = 1_000
LookUp = Callable[[str, str, int, int], int]


@pytest.fixture
def copied(source: RunningCluster, target: RunningCluster) -> Copied:
    return Copied.new(Workbench(source.bootstrap_servers), Workbench(target.bootstrap_servers, Side.TARGET))


@pytest.fixture
def chance() -> random.Random:
    return random.Random(7)


def documented() -> LookUp:
    """The function that the documentation shows."""
    page = (Path(__file__).parents[2] / "docs" / "plan.md").read_text(encoding="utf-8")
    shown = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    [code] = [code for code in shown if "def " in code]
    names: dict[str, Any] = {}
    exec(code, names)
    look_up: LookUp = names["goes_on_at"]
    return look_up


def rows_of(copied: Copied, compacted: bool = False) -> list[Row]:
    anchors = {copied.tp: copied.anchors()}
    topics = {copied.tp.topic} if compacted else set()
    return read_table(copied.source.cluster, copied.target.cluster, anchors, compacted=topics)[copied.tp]


def every_offset_leads_to_its_next_message(copied: Copied, rows: list[Row], folder: Path) -> None:
    file = folder / "offsets.csv"
    file.write_text(as_csv(rows, Side.SOURCE, Side.TARGET))
    look_up = documented()
    there = [m.offset() for m in visible(copied.target, copied.tp)]
    end = copied.end[0]
    offsets = [*random.Random(3).sample(range(end), 300), 0, end - 1, end]
    for offset, (message, copies) in zip(offsets, copied.truths(offsets), strict=True):
        found = look_up(str(file), copied.tp.topic, copied.tp.partition, offset)
        if message is None:
            assert found == copied.end[1], f"nothing is left behind {offset}"
        else:
            assert there[bisect_left(there, found)] == copies[-1], f"{offset}: next {message}, its copies {copies}"
    with pytest.raises(LookupError):
        look_up(str(file), copied.tp.topic, copied.tp.partition, end + 1)


def test_plain_copy_is_one_row_and_the_end(copied: Copied, chance: random.Random, tmp_path: Path) -> None:
    copied.fill(MESSAGES, chance)
    copied.copy()
    rows = rows_of(copied)
    assert [(r.first, r.there, r.messages, r.known) for r in rows] == [
        (0, 0, copied.end[0], True),
        (*copied.end, 0, True),
    ]
    first, last = visible(copied.source, copied.tp)[0], visible(copied.target, copied.tp)[-1]
    assert (rows[0].first_time, rows[0].last_time) == (first.timestamp()[1], last.timestamp()[1])
    every_offset_leads_to_its_next_message(copied, rows, tmp_path)


@pytest.mark.parametrize("at_once", [table._AT_ONCE, 150])
def test_transactions_on_both_sides_make_a_row_for_each_stretch(
    copied: Copied, chance: random.Random, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr(table, "_AT_ONCE", at_once)
    copied.fill(MESSAGES, chance, transactions=True)
    older = visible(copied.source, copied.tp)[:90]
    send(producer(copied.target), copied.tp, [(m.key(), m.value(), [], m.timestamp()[1]) for m in older])
    copied.begin = (0, 90)
    copied.copy(transactional=True)
    rows = rows_of(copied)
    assert sum(r.messages for r in rows) == len(copied.images)
    assert all(r.known for r in rows)
    assert 50 < len(rows) < len(copied.images) / 2
    every_offset_leads_to_its_next_message(copied, rows, tmp_path)


def test_what_was_deleted_on_the_source_has_no_row(copied: Copied, chance: random.Random, tmp_path: Path) -> None:
    copied.fill(MESSAGES, chance, transactions=True)
    copied.copy(transactional=True)
    copied.source.delete_before(copied.tp, 457)
    rows = rows_of(copied)
    assert min(r.first for r in rows) >= 457
    assert all(r.known for r in rows)
    every_offset_leads_to_its_next_message(copied, rows, tmp_path)


def test_message_that_is_not_there_has_no_known_place_and_is_not_passed_over(
    copied: Copied, chance: random.Random, tmp_path: Path
) -> None:
    copied.fill(MESSAGES, chance)
    lost = 500
    copied.copy(without=[lost])
    rows = rows_of(copied)
    doubtful = [r for r in rows if not r.known]
    assert any(r.there is None and r.first <= lost <= r.last for r in doubtful)
    assert sum(r.messages for r in doubtful) <= 110, "only what lies between the same anchors before it"
    file = tmp_path / "offsets.csv"
    file.write_text(as_csv(rows, Side.SOURCE, Side.TARGET))
    look_up = documented()
    with pytest.raises(LookupError):
        look_up(str(file), copied.tp.topic, copied.tp.partition, lost)
    for offset in (100, 900):
        found = look_up(str(file), copied.tp.topic, copied.tp.partition, offset)
        assert [found] == copied.images[offset]


def test_copies_that_were_made_twice_lead_to_the_later_ones_or_repeat(copied: Copied, chance: random.Random) -> None:
    copied.fill(MESSAGES, chance)
    copied.copy(upto=400)
    copied.copy(first=200)
    for row in rows_of(copied):
        if row.there is None or not row.messages:
            continue
        for number in range(row.messages):
            images = copied.images[row.first + number]
            if not row.repeats:
                assert row.there + number == images[-1]
            else:
                assert row.there + number <= images[-1]
