"""What must survive a run survives it, whole."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kafka_migration.records import FileRecords, MemoryRecords, Records

KINDS: list[Callable[[Path], Records]] = [lambda _: MemoryRecords(), lambda folder: FileRecords(folder / "records")]


@pytest.mark.parametrize("kind", KINDS)
def test_values_are_kept_by_key(tmp_path: Path, kind: Callable[[Path], Records]) -> None:
    records = kind(tmp_path)
    values: dict[str, Any] = {
        "pass": 1,
        "pass/1/seeds": {"billing": {"orders/0": 5}},
        "pass/1/cutover/a.b": [1, None, "ü"],
        "pass/1/leaving/order-api": False,
    }
    for key, value in values.items():
        assert records.get(key) is None
        records.set(key, value)
    assert {key: records.get(key) for key in values} == values
    records.set("pass", 2)
    assert records.get("pass") == 2


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_read_can_be_changed_without_changing_the_record(
    tmp_path: Path, kind: Callable[[Path], Records]
) -> None:
    records = kind(tmp_path)
    records.set("a", [1])
    records.get("a").append(2)
    assert records.get("a") == [1]


def test_files_outlive_their_process_and_one_that_was_killed_leaves_the_former(tmp_path: Path) -> None:
    FileRecords(tmp_path).set("pass/1/seeds", {"a": 1})
    [file] = tmp_path.iterdir()
    file.with_suffix(".part").write_text('{"a": ')  # what a killed process may leave
    assert FileRecords(tmp_path).get("pass/1/seeds") == {"a": 1}
