"""What is known of each cell, kept from one command to the next: what has passed is not run again with the same code.

The code is told by a digest of every source that a cell runs, so that it needs no version control.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from tests.faults.cell import CellResult, Row
from tests.faults.stage import ROOT

_SOURCES = ("include", "plugins", "dags", "tests/faults")


class Results:
    """One file for each cell in one folder."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._code = _digest()

    def forget(self) -> None:
        for file in self._folder.glob("*.json"):
            file.unlink()

    def passed(self, flow: str, victim: str) -> CellResult | None:
        """What this very code has passed."""
        found = self._read(flow, victim)
        return found[1] if found and found[0] == self._code and found[1].ok else None

    def seconds(self, flow: str, victim: str) -> float | None:
        """How long the cell took when it was run last."""
        found = self._read(flow, victim)
        return found[1].seconds if found else None

    def keep(self, result: CellResult) -> None:
        file = self._file(result.flow, result.victim)
        part = file.with_suffix(".part")
        part.write_text(json.dumps({"code": self._code, **asdict(result)}, indent=1), encoding="utf-8")
        part.replace(file)

    def _read(self, flow: str, victim: str) -> tuple[str, CellResult] | None:
        try:
            kept = json.loads(self._file(flow, victim).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        code = kept.pop("code")
        rows = tuple(Row(**row) for row in kept.pop("rows"))
        return code, CellResult(rows=rows, **{key: _tuple(value) for key, value in kept.items()})

    def _file(self, flow: str, victim: str) -> Path:
        return self._folder / f"{flow}.{victim}.json"


def _tuple(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


def _digest() -> str:
    digest = hashlib.sha256()
    for file in sorted(_files()):
        digest.update(str(file.relative_to(ROOT)).encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()


def _files() -> Iterable[Path]:
    for folder in _SOURCES:
        yield from (file for file in (ROOT / folder).rglob("*") if file.suffix in (".py", ".yaml", ".toml", ".j2"))
