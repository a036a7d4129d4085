"""The flows that faults are brought into: a plan, a state to begin from, a DAG to trigger, a rule for the end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.faults.stage import ROOT, FaultStage

_PLAN = ROOT / "include" / "plans" / "orders.yaml"


@dataclass(frozen=True)
class Flow:
    """`text` is the plan under a name of its own; `begin` brings the open shop into the state it begins from.

    `ends_on_target`: where every group must read at the end. `order_may_bend`: messages out of order are no fault.
    """

    name: str
    purpose: str
    text: Callable[[str], str]
    begin: Callable[[FaultStage, str], None]
    ends_on_target: bool = True
    order_may_bend: bool = False

    def dag_id(self, plan: str) -> str:
        return f"{plan}.{self.purpose}"


def _orders(scheme: str) -> Callable[[str], str]:
    """The demo's own plan, with one approval: a person's answer is a step like any other."""

    def text(plan: str) -> str:
        replaced = {
            "plan: orders\n": f"plan: {plan}\n",
            "scheme: producers_first\n": f"scheme: {scheme}\n",
            "approvals: [producers, consumers]\n": "approvals: [producers]\n",
        }
        content = _PLAN.read_text(encoding="utf-8")
        for former, new in replaced.items():
            assert former in content, f"{_PLAN} has no line {former!r} any more"
            content = content.replace(former, new)
        return content

    return text


def _as_it_is(stage: FaultStage, plan: str) -> None:
    """The shop reads and writes the source, as it was opened."""


FLOWS = (Flow("producers_first", "migrate", _orders("producers_first"), _as_it_is),)
