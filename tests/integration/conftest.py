"""What the tests of the steps share: a supervisord for each module, and a town of both clusters for each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.conftest import RunningCluster
from tests.integration.scene import Daemon, Town, supervised


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with supervised(tmp_path_factory.mktemp("sd")) as one:
        yield one


@pytest.fixture
def town(source: RunningCluster, target: RunningCluster, daemon: Daemon) -> Iterator[Town]:
    with Town.of(source.bootstrap_servers, target.bootstrap_servers, daemon) as one:
        yield one
