"""The last line of every demo: what was counted, and whether that is a pass.

Judges only what it is given; anything that is not known is never a PASS.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

INTERRUPTED = "interrupted"


class Outcome(StrEnum):
    PASS = "PASS"
    FAIL = "FAIL"
    INCONCLUSIVE = "INCONCLUSIVE"


@dataclass(frozen=True)
class Tally:
    """What the witness logs add up to. `first` names the first message that was not delivered as it should."""

    produced: int = 0
    lost: int = 0
    repeated: int = 0
    out_of_order: int = 0
    first: str | None = None

    @property
    def faulty(self) -> bool:
        return bool(self.lost or self.repeated or self.out_of_order)


@dataclass(frozen=True)
class Verdict:
    outcome: Outcome
    tally: Tally = Tally()
    reason: str | None = None

    @property
    def line(self) -> str:
        tally = self.tally
        counted = (
            f"verdict {self.outcome} produced={tally.produced} lost={tally.lost} "
            f"repeated={tally.repeated} out_of_order={tally.out_of_order}"
        )
        if self.outcome is Outcome.PASS:
            return counted
        return f"{counted} first={tally.first}" if tally.first else f"{counted} reason={self.reason}"

    @property
    def exit_code(self) -> int:
        if self.reason == INTERRUPTED:
            return 130
        return {Outcome.PASS: 0, Outcome.FAIL: 1, Outcome.INCONCLUSIVE: 3}[self.outcome]


def unknown(reason: str) -> Verdict:
    """Nothing was counted."""
    return Verdict(Outcome.INCONCLUSIVE, Tally(), reason)


def judge(*, run_state: str, gate: str | None, tally: Tally, not_moved: list[str]) -> Verdict:
    """The verdict of a run that has ended.

    `gate` is the verdict in the run's evidence; `not_moved` the groups that processed nothing from the target.
    """
    if tally.faulty:
        return Verdict(Outcome.FAIL, tally, "messages_not_delivered_once_in_order")
    if run_state != "success" or gate not in (None, Outcome.PASS):
        outcome = Outcome.INCONCLUSIVE if gate == Outcome.INCONCLUSIVE else Outcome.FAIL
        return Verdict(outcome, tally, f"run_{run_state}_gate_{gate or 'missing'}")
    if gate is None:
        return Verdict(Outcome.INCONCLUSIVE, tally, "no_evidence")
    if tally.produced == 0:
        return Verdict(Outcome.INCONCLUSIVE, tally, "nothing_produced")
    if not_moved:
        return Verdict(Outcome.FAIL, tally, f"not_on_target:{','.join(not_moved)}")
    return Verdict(Outcome.PASS, tally)
