"""Where a task and the harness meet: the task says that it is at a point, and waits until the harness has done a deed.

Files in one folder, so that both sides survive the other's death. Nothing happens at a point that is not armed, and
nothing a second time. A task waits no longer than its bound: a dead harness holds up nobody.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

VARIABLE = "FAULTS_RENDEZVOUS"

_BOUND = 240.0
_PAUSE = 0.02
_ARMED = "armed.json"


@dataclass(frozen=True)
class Arrival:
    """A process at a point `<task>@<moment>`. `keeper` is Airflow's process that runs it and sends its heartbeats."""

    point: str
    pid: int
    keeper: int
    at: float

    @property
    def task(self) -> str:
        return self.point.partition("@")[0]

    @property
    def moment(self) -> str:
        return self.point.partition("@")[2]


class Rendezvous:
    """One folder of meetings."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def arm(self, points: Iterable[str], *, defer: bool = False) -> None:
        """From now on tasks stop at these points (patterns as of file names). `defer`: no wait ends in the worker."""
        self._folder.mkdir(parents=True, exist_ok=True)
        part = self._folder / f".{_ARMED}"
        part.write_text(json.dumps({"points": list(points), "defer": defer}), encoding="utf-8")
        part.replace(self._folder / _ARMED)

    def arm_too(self, point: str) -> None:
        """One point more."""
        armed = self._armed()
        self.arm([*armed["points"], point], defer=bool(armed["defer"]))

    def clear(self) -> None:
        """Nothing is armed, and nothing has happened."""
        for file in self._folder.glob("*"):
            file.unlink()

    def arrivals(self) -> list[Arrival]:
        """Everybody who has come to a point so far, in that order."""
        files = self._folder.glob("*.here")
        found = [Arrival(**json.loads(file.read_text(encoding="utf-8"))) for file in files]
        return sorted(found, key=lambda arrival: arrival.at)

    def arrival(self, point: str) -> Arrival | None:
        """Who has come to that point, if anybody has."""
        return next((arrival for arrival in self.arrivals() if arrival.point == point), None)

    def release(self, arrival: Arrival) -> None:
        """Let it go on."""
        self._file(arrival.point, "go").touch()

    # -- below: the task's side

    @property
    def defer(self) -> bool:
        return bool(self._armed().get("defer"))

    def meet(self, point: str) -> None:
        """Stop here where the point is armed and nobody has come to it before."""
        if not any(fnmatchcase(point, pattern) for pattern in self._armed().get("points", ())):
            return
        if self._announce(Arrival(point, os.getpid(), os.getppid(), time.time())):
            deadline = time.monotonic() + _BOUND
            while not self._file(point, "go").exists() and time.monotonic() < deadline:
                time.sleep(_PAUSE)

    def _announce(self, arrival: Arrival) -> bool:
        """Whether this is the first; the file is there as a whole or not at all."""
        part = self._folder / f".{arrival.point}.{arrival.pid}"
        part.write_text(json.dumps(asdict(arrival)), encoding="utf-8")
        try:
            os.link(part, self._file(arrival.point, "here"))
        except FileExistsError:
            return False
        finally:
            part.unlink()
        return True

    def _armed(self) -> dict[str, Any]:
        with contextlib.suppress(FileNotFoundError):
            armed: dict[str, Any] = json.loads((self._folder / _ARMED).read_text(encoding="utf-8"))
            return armed
        return {}

    def _file(self, point: str, what: str) -> Path:
        return self._folder / f"{point}.{what}"
