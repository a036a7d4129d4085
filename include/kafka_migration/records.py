"""What must survive a run: seeds, cutover points, the pass. A keyed store; where it lives is the caller's choice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Protocol


class Records(Protocol):
    """A keyed store of JSON values that outlives a run. One key is only ever written by one step at a time."""

    def get(self, key: str) -> Any:
        """The value under `key`, or None."""

    def set(self, key: str, value: Any) -> None:
        """Keep `value` (JSON) under `key` for good."""


class MemoryRecords:
    """Records for one process: the benchmark's plain script and tests."""

    def __init__(self) -> None:
        self._values: dict[str, str] = {}

    def get(self, key: str) -> Any:
        return json.loads(self._values[key]) if key in self._values else None

    def set(self, key: str, value: Any) -> None:
        self._values[key] = json.dumps(value)


class FileRecords:
    """Records as one JSON file a key in a folder, written by rename, so that a killed process leaves whole files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def get(self, key: str) -> Any:
        path = self._path(key)
        return json.loads(path.read_text()) if path.exists() else None

    def set(self, key: str, value: Any) -> None:
        path = self._path(key)
        part = path.with_suffix(".part")
        part.write_text(json.dumps(value))
        part.replace(path)

    def _path(self, key: str) -> Path:
        return self._folder / (key.replace("/", "%2F") + ".json")
