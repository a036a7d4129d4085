"""Ports that several processes ask for at once, long before they listen on them."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from demo import ports

_ASKS = "import sys; from demo.ports import free_ports; print(*free_ports(int(sys.argv[1])), flush=True); input()"


@pytest.fixture(autouse=True)
def few_ports(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    claims: list[socket.socket] = []
    monkeypatch.setattr(ports, "_claims", claims)
    monkeypatch.setattr(ports, "_LOWEST", 14_000)
    monkeypatch.setattr(ports, "_first_ephemeral_port", lambda: 15_000)
    yield
    for claim in claims:
        claim.close()


def test_port_is_given_to_one_process_until_that_ends() -> None:
    mine = set(ports.free_ports(300))
    asks = f"from demo import ports; ports._LOWEST, ports._first_ephemeral_port = 14_000, lambda: 15_000; {_ASKS}"
    with subprocess.Popen(
        [sys.executable, "-c", asks, "300"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        theirs = {int(port) for port in other.stdout.readline().split()}
        assert (len(mine), len(theirs), mine & theirs) == (300, 300, set())
        other.stdin.close()
    assert {port for port in theirs if ports._claim(port)} == theirs


def test_that_too_few_are_free_is_told_with_what_to_do() -> None:
    with pytest.raises(RuntimeError, match=r"of 1100 free ports between 14000 and 15000 .* Stop what listens"):
        ports.free_ports(1100)
