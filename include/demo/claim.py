"""One demo at a time for each state folder: a lock that the system takes back when its holder dies.

Says who holds it. Never breaks the lock of a living process.
"""

from __future__ import annotations

import fcntl
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Holder:
    """The process that runs the demo of a state folder, and the command that it is."""

    pid: int
    command: str


class Claimed(Exception):
    """Another process runs the demo of this state folder."""

    def __init__(self, holder: Holder) -> None:
        super().__init__(f"`make {holder.command}` of this checkout is running (process {holder.pid}).")
        self.holder = holder


class Claim:
    """The right to run the demo of one state folder, held until this process ends."""

    def __init__(self, state: Path, command: str) -> None:
        self._file = _file(state).open("a+", encoding="utf-8")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.seek(0)
            raise Claimed(_read(self._file.read())) from None
        self._file.truncate(0)
        self._file.write(json.dumps(asdict(Holder(os.getpid(), command))))
        self._file.flush()


def holder_of(state: Path) -> Holder | None:
    """Who runs the demo of that state folder now."""
    try:
        with _file(state).open("r", encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return _read(file.read())
            return None
    except FileNotFoundError:
        return None


def _file(state: Path) -> Path:
    return state / "claim"


def _read(content: str) -> Holder:
    return Holder(**json.loads(content)) if content else Holder(0, "demo")
