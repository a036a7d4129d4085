"""What Java keeps of a start: used where it is whole, and by nobody where it is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from demo import aot


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(aot, "kept", lambda program: tmp_path / f"{program}.aot")
    return tmp_path


def test_nothing_is_told_java_where_nothing_was_recorded(folder: Path) -> None:
    assert aot.used(aot.BROKER) == []


def test_run_that_is_still_recorded_is_used_by_nobody(folder: Path) -> None:
    [option] = aot.recorded(aot.BROKER)
    file = Path(option.partition("=")[2])
    file.write_text("half")
    assert aot.used(aot.BROKER) == []
    aot.keep(aot.BROKER)
    assert aot.used(aot.BROKER)[0] == f"-XX:AOTCache={folder / 'broker.aot'}"
    assert not file.exists()


def test_each_program_has_a_file_of_its_own() -> None:
    assert aot.kept(aot.BROKER) != aot.kept(aot.CONNECT)
