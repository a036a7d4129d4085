"""A short selection of `make faults`: whatever is killed, the migration finishes and nothing is lost."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from tests.faults.cell import run_cell
from tests.faults.flows import FLOWS, Flow
from tests.faults.stage import FaultStage
from tests.faults.table import lines
from tests.faults.victims import VICTIMS, Victim

_FEW = {
    "worker_between": ("switch_producers.order-api@stopped", "cutover@frozen", "fulfilment.switch@configured"),
    "two_attempts": ("fulfilment.switch@configured",),
}
_SHORT = [replace(victim, points=lambda flow, few=_FEW[victim.name]: few) for victim in VICTIMS if victim.name in _FEW]


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultStage]:
    stage = FaultStage(tmp_path_factory.mktemp("faults"), print)
    try:
        stage.start()
        yield stage
    finally:
        stage.stop()


@pytest.mark.timeout(900)
@pytest.mark.parametrize("victim", _SHORT, ids=lambda victim: victim.name)
@pytest.mark.parametrize("flow", FLOWS[:1], ids=lambda flow: flow.name)
def test_a_victim_killed_at_some_steps_makes_nothing_lost(stage: FaultStage, flow: Flow, victim: Victim) -> None:
    result = run_cell(stage, flow, victim)
    assert result.ok, "\n".join(lines(result))
