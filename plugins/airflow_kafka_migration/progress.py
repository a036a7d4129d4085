"""Progress lines that show what changes and never flood a log."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

_CHANGED_EVERY = 4.0
_SAME_EVERY = 30.0


class Progress:
    """Tells lines when they have changed, at most every few seconds, and the same ones now and then."""

    def __init__(self, write: Callable[[str], object], now: Callable[[], float] = time.monotonic) -> None:
        self._write = write
        self._now = now
        self._told: tuple[str, ...] | None = None
        self._at = 0.0

    def tell(self, lines: Sequence[str]) -> None:
        now = self._now()
        if self._told is not None and now - self._at < (_SAME_EVERY if tuple(lines) == self._told else _CHANGED_EVERY):
            return
        self._told, self._at = tuple(lines), now
        for line in lines:
            self._write(line)
