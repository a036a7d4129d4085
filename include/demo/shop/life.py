"""How a service of the shop lives: until it is asked to stop, or until whoever started it is gone."""

from __future__ import annotations

import select
import signal
import sys
import threading
from contextlib import suppress

_STANDARD_INPUT = 0


class Life:
    """Ends with SIGTERM or SIGINT, and when the supervisor dies: nobody could stop the service any more.

    The supervisor holds the other end of the standard input. That it is gone is seen there, whenever it went; who asks
    for its parent's number may ask when it has another parent already.
    """

    def __init__(self) -> None:
        self._over = threading.Event()
        self._input = select.poll()
        self._input.register(_STANDARD_INPUT, select.POLLHUP)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._over.set())

    @property
    def over(self) -> bool:
        return self._over.is_set() or any(event & select.POLLHUP for _, event in self._input.poll(0))

    def rest(self, seconds: float) -> None:
        """Wait that long, or until the end, but never so long that the end of the parent goes unseen."""
        self._over.wait(min(max(0.0, seconds), 1.0))


def say(text: str) -> None:
    """One line in the service's own log, for as long as its supervisor reads it.

    When that is gone this must not fail: said from a rebalance callback, the error left a client of the KIP-848
    protocol whose destruction never ended (seen with librdkafka 2.16: its main thread spins).
    """
    with suppress(BrokenPipeError):
        print(text, file=sys.stderr, flush=True)
