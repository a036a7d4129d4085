"""What the tests of the steps share: a supervisord for each module, and a town of both clusters for each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.conftest import RunningCluster
from tests.integration.scene import Daemon, Town, supervised

from kafka_migration.steps import handover, preflight


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with supervised(tmp_path_factory.mktemp("sd")) as one:
        yield one


@pytest.fixture
def town(source: RunningCluster, target: RunningCluster, daemon: Daemon) -> Iterator[Town]:
    with Town.of(source.bootstrap_servers, target.bootstrap_servers, daemon) as one:
        yield one


@pytest.fixture(autouse=True)
def _second_looks_come_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two looks of one step nothing happens here that needs time: services sleep, and the test waits."""
    monkeypatch.setattr(handover, "_RESTS_FOR", 0.1)
    monkeypatch.setattr(preflight, "_WATCHED", 0.1)
