"""Two real Kafka clusters for the whole session, and names that no other test uses.

The clusters are shared: a test that stops, kills or damages a broker makes a `KafkaCluster` of its own.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from tests.recording import record_what_is_missing

from demo.kafka import KafkaCluster

# For the Python processes that tests start themselves.
_INCLUDE = str(Path(__file__).resolve().parents[1] / "include")
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [_INCLUDE, os.environ.get("PYTHONPATH")]))

# What a test waits for comes later where much else runs: to wait longer costs only who waits in vain.
os.environ.setdefault("DEMO_PATIENCE", "4")

# How long an example takes says what else the machine does.
hypothesis.settings.register_profile("here", deadline=None)
hypothesis.settings.load_profile("here")


@dataclass(frozen=True)
class RunningCluster:
    """A session's cluster, as its clients know it."""

    bootstrap_servers: str
    cluster_id: str


@dataclass(frozen=True)
class Clusters:
    source: RunningCluster
    target: RunningCluster


@pytest.fixture(scope="session")
def source(_clusters: Clusters) -> RunningCluster:
    """The cluster to move from."""
    return _clusters.source


@pytest.fixture(scope="session")
def target(_clusters: Clusters) -> RunningCluster:
    """The cluster to move to."""
    return _clusters.target


@pytest.fixture
def unique() -> Callable[[str], str]:
    """A name for a topic, a group or a transactional id that nothing else on the shared clusters has."""
    suffix = uuid.uuid4().hex[:8]
    return lambda name: f"{name}-{suffix}"


@pytest.fixture(scope="session")
def _clusters(request: pytest.FixtureRequest) -> Iterator[Clusters]:
    # A worker of pytest-xdist is told the addresses: its controller runs the one pair that all workers share.
    given = getattr(request.config, "workerinput", {}).get("clusters")
    if given:
        yield Clusters(RunningCluster(**given["source"]), RunningCluster(**given["target"]))
        return
    with _started() as clusters:
        yield clusters


@contextlib.contextmanager
def _started() -> Iterator[Clusters]:
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="kafka-migration-tests-")))
        record_what_is_missing(directory)
        pair = [KafkaCluster(name, directory / name) for name in ("source", "target")]
        with ThreadPoolExecutor(len(pair)) as pool:
            for future in [pool.submit(stack.enter_context, cluster) for cluster in pair]:
                future.result()
        yield Clusters(*(RunningCluster(one.bootstrap_servers, one.cluster_id) for one in pair))


class _SharedByWorkers:
    """In the controller of pytest-xdist: started when the first worker is, stopped at the session's end."""

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()
        self._clusters: Clusters | None = None

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        if self._clusters is None:
            self._clusters = self._stack.enter_context(_started())
        node.workerinput["clusters"] = asdict(self._clusters)

    def pytest_unconfigure(self) -> None:
        self._stack.close()


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(_SharedByWorkers())
