"""Kafka's own `kafka-consumer-groups`: its lag of all groups, its seconds, and how many of them Java takes to start."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass

from benchmarks.failed import BenchmarkFailed
from demo.jars import java, kafka_classpath

_CLASS = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand"
# What the script that comes with Kafka gives its tools.
_JAVA = ("-Xmx256M", "-server", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20", "-XX:+ExplicitGCInvokesConcurrent")
_ANSWER_WITHIN = 300


@dataclass(frozen=True)
class Described:
    """By group the sum of its lag, and the seconds of the whole process."""

    lag: Mapping[str, int]
    seconds: float


def describe_all_groups(servers: str) -> Described:
    """`kafka-consumer-groups --all-groups --describe`."""
    told, seconds = _run("--bootstrap-server", servers, "--all-groups", "--describe", "--timeout", "120000")
    lag: dict[str, int] = {}
    for line in told.splitlines():
        cells = line.split()
        if len(cells) >= 6 and cells[2].isdigit():  # GROUP TOPIC PARTITION CURRENT-OFFSET LOG-END-OFFSET LAG
            lag[cells[0]] = lag.get(cells[0], 0) + int(cells[5])
    return Described(lag, seconds)


def seconds_to_start() -> float:
    """The same program asked for its version only: no broker is contacted."""
    return _run("--version")[1]


def _run(*arguments: str) -> tuple[str, float]:
    command = [str(java()), *_JAVA, "-cp", kafka_classpath(), _CLASS, *arguments]
    began = time.monotonic()
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_ANSWER_WITHIN)
    except subprocess.TimeoutExpired as error:
        raise BenchmarkFailed(f"kafka-consumer-groups did not end within {_ANSWER_WITHIN} s") from error
    seconds = time.monotonic() - began
    if done.returncode:
        raise BenchmarkFailed(f"kafka-consumer-groups ended with {done.returncode}: {done.stderr[-1000:]}")
    return done.stdout, seconds
