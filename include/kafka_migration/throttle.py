"""Reading no faster than the plan allows, so that services on the same brokers keep theirs.

Kafka's own quotas do the same for a client id; those are the operators' to set. What is counted is what messages hold:
of compressed ones fewer bytes cross the network.
"""

from __future__ import annotations

import time
from collections.abc import Callable


class Throttle:
    """At most so many bytes a second, over the time since the first were read; what was not used is not saved up."""

    def __init__(
        self,
        bytes_per_second: float,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.bytes_per_second = bytes_per_second
        self._now = now
        self._sleep = sleep
        self._free = now()  # when what was read is paid for

    def spend(self, count: int) -> None:
        """So many bytes were read: wait until that was allowed."""
        now = self._now()
        self._free = max(self._free, now) + count / self.bytes_per_second
        if self._free > now:
            self._sleep(self._free - now)
