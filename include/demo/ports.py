"""Free TCP ports of this machine, each given to one process only for as long as it lives."""

from __future__ import annotations

import random
import socket
from pathlib import Path

_LOWEST = 15_000
_USUAL_FIRST_EPHEMERAL = 32_768

_claims: list[socket.socket] = []


def free_ports(count: int) -> list[int]:
    """That many different ports of 127.0.0.1 that nobody listens on, none given out before by a process that lives.

    They lie below the range from which the system takes the ports of outgoing connections, so that a
    broker that is stopped finds its own port free when it starts again.
    """
    highest = max(_first_ephemeral_port(), _LOWEST + 1_000)
    chosen: list[int] = []
    for _ in range(200 * count):
        port = random.randrange(_LOWEST, highest)
        if _claim(port) and _is_free(port):
            chosen.append(port)
        if len(chosen) == count:
            return chosen
    raise RuntimeError(
        f"Found only {len(chosen)} of {count} free ports between {_LOWEST} and {highest} on 127.0.0.1. "
        "Stop what listens there and start again."
    )


def _claim(port: int) -> bool:
    """Whether nobody else was given it: seconds pass until a broker listens on its port (measured: taken twice).

    The claim is a name of Linux's abstract namespace: it leaves no file, and goes with the process.
    """
    claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        claim.bind(f"\0kafka-migration-port-{port}")
    except OSError:
        claim.close()
        return False
    _claims.append(claim)
    return True


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _first_ephemeral_port() -> int:
    try:
        return int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text(encoding="ascii").split()[0])
    except (OSError, ValueError, IndexError):
        return _USUAL_FIRST_EPHEMERAL
