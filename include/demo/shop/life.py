"""How a service of the shop lives: until it is asked to stop, or until whoever started it is gone."""

from __future__ import annotations

import os
import signal
import sys
import threading


class Life:
    """Ends with SIGTERM or SIGINT, and when the supervisor dies: nobody could stop the service any more."""

    def __init__(self) -> None:
        self._over = threading.Event()
        self._parent = os.getppid()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._over.set())

    @property
    def over(self) -> bool:
        return self._over.is_set() or os.getppid() != self._parent

    def rest(self, seconds: float) -> None:
        """Wait that long, or until the end, but never so long that the end of the parent goes unseen."""
        self._over.wait(min(max(0.0, seconds), 1.0))


def say(text: str) -> None:
    """One line in the service's own log."""
    print(text, file=sys.stderr, flush=True)
