"""A short selection of `make faults`: whatever is killed, the migration finishes and nothing is lost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest
from tests.faults.cell import run_cell
from tests.faults.deeds import kill_tasks, two_attempts
from tests.faults.flows import FLOWS
from tests.faults.plugins.rendezvous import Arrival
from tests.faults.stage import FaultStage
from tests.faults.table import lines
from tests.faults.victims import Victim

_KILLED = ("switch_producers.order-api@stopped", "cutover@frozen", "billing.switch@configured")
_TWICE = ("fulfilment.switch@configured",)


def _hit(stage: FaultStage, arrivals: Sequence[Arrival]) -> None:
    for arrival in arrivals:
        deed = two_attempts if arrival.point in _TWICE else kill_tasks
        deed(stage, [arrival])


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultStage]:
    stage = FaultStage(tmp_path_factory.mktemp("faults"), print)
    try:
        stage.start()
        yield stage
    finally:
        stage.stop()


@pytest.mark.timeout(3600)
def test_workers_killed_at_some_steps_and_two_attempts_at_another_make_nothing_lost(stage: FaultStage) -> None:
    """Several of the table's rows in one run: each hit is judged by itself, what was lost by the whole."""
    result = run_cell(stage, FLOWS[0], Victim("some", lambda flow: (*_KILLED, *_TWICE), _hit))
    assert result.ok, "\n".join(lines(result))
