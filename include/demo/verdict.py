"""The last line of every demo: what was counted, and whether that is a pass.

Judges only what it is given; anything that is not known is never a PASS.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Literal

INTERRUPTED = "interrupted"


class Outcome(StrEnum):
    PASS = "PASS"
    FAIL = "FAIL"
    INCONCLUSIVE = "INCONCLUSIVE"


@dataclass(frozen=True)
class Tally:
    """What the witness logs add up to. `first` names the first message that was not delivered as it should.

    `may_repeat`: whether repeats are a fault is judged elsewhere.
    """

    produced: int = 0
    lost: int = 0
    repeated: int = 0
    out_of_order: int = 0
    first: str | None = None
    order_may_bend: bool = False
    may_repeat: bool = False

    @property
    def faulty(self) -> bool:
        repeated = self.repeated and not self.may_repeat
        disordered = self.out_of_order and not self.order_may_bend
        return bool(self.lost or repeated or disordered)


@dataclass(frozen=True)
class Recovery:
    """What the loss of a cluster cost, by what was seen from outside and by what the runs told; None: not known.

    `rpo`: the messages of the lost cluster that the failback found not mirrored; `counted` of them had been
    acknowledged, by the services' own books and what lay on the survivor. `rto`: seconds from the loss to the first
    message that was processed on the survivor. `announced`: how many messages might repeat, `repeated`: how many did,
    both by group.
    """

    rpo: int | None = None
    counted: int | None = None
    rto: float | None = None
    announced: Mapping[str, int] = field(default_factory=dict)
    repeated: Mapping[str, int] = field(default_factory=dict)

    @property
    def line(self) -> str:
        rpo = "unknown" if self.rpo is None else f"{self.rpo}"
        rto = "unknown" if self.rto is None else f"{self.rto:.1f}"
        return f" rpo={rpo} rto={rto}"

    @property
    def problem(self) -> tuple[Outcome, str] | None:
        """What is not known of it, or is worse than what was told."""
        more = [group for group, number in sorted(self.repeated.items()) if number > self.announced.get(group, 0)]
        if more:
            return Outcome.FAIL, f"repeated_more_than_announced:{','.join(more)}"
        if self.rto is None:
            return Outcome.INCONCLUSIVE, "rto_unknown"
        if self.rpo is None or self.counted is None:
            return Outcome.INCONCLUSIVE, "rpo_unknown"
        if self.counted > self.rpo:
            return Outcome.FAIL, f"{self.counted}_not_mirrored_and_{self.rpo}_told"
        return None


@dataclass(frozen=True)
class RunEnd:
    """How one run of the demo ended.

    `gate` is the verdict in its evidence. A run that was `rejected` an approval on purpose has to fail, and by that
    alone: `broken` are the tasks that failed by themselves. `elsewhere` are those who did not work on `side` after it.
    """

    name: str
    state: str
    gate: str | None
    rejected: bool = False
    broken: tuple[str, ...] = ()
    side: Literal["source", "target"] | None = "target"
    elsewhere: tuple[str, ...] = ()

    @property
    def problem(self) -> tuple[Outcome, str] | None:
        """What it was to do and did not."""
        if self.rejected and self.broken:
            return Outcome.FAIL, f"{self.name}_broken:{','.join(self.broken)}"
        state, gate = ("failed", Outcome.FAIL) if self.rejected else ("success", Outcome.PASS)
        if self.state != state or self.gate not in (None, gate):
            outcome = Outcome.INCONCLUSIVE if self.gate == Outcome.INCONCLUSIVE else Outcome.FAIL
            return outcome, f"{self.name}_{self.state}_gate_{self.gate or 'missing'}"
        if self.gate is None:
            return Outcome.INCONCLUSIVE, f"{self.name}_left_no_evidence"
        if self.elsewhere:
            return Outcome.FAIL, f"not_on_{self.side}:{','.join(self.elsewhere)}"
        return None


@dataclass(frozen=True)
class Verdict:
    """`reason` says why it is no PASS; None where the tally names the message at fault.

    `recovery` is of a demo in which a cluster was lost.
    """

    outcome: Outcome
    tally: Tally = Tally()
    reason: str | None = None
    recovery: Recovery | None = None

    @property
    def line(self) -> str:
        tally = self.tally
        counted = (
            f"verdict {self.outcome} produced={tally.produced} lost={tally.lost} "
            f"repeated={tally.repeated} out_of_order={tally.out_of_order}"
            f"{self.recovery.line if self.recovery else ''}"
        )
        if self.outcome is Outcome.PASS:
            return counted
        return f"{counted} reason={self.reason}" if self.reason else f"{counted} first={tally.first}"

    @property
    def exit_code(self) -> int:
        if self.reason == INTERRUPTED:
            return 130
        return {Outcome.PASS: 0, Outcome.FAIL: 1, Outcome.INCONCLUSIVE: 3}[self.outcome]


def unknown(reason: str) -> Verdict:
    """Nothing was counted."""
    return Verdict(Outcome.INCONCLUSIVE, Tally(), reason)


def judge(
    runs: Sequence[RunEnd],
    tally: Tally,
    *,
    cut_short: bool = False,
    differs: str | None = None,
    not_shown: str | None = None,
) -> Verdict:
    """The verdict of a demo: messages at fault, or the first run that did not do what it was to do.

    `cut_short`: the last of these runs should have been followed by others, or by services that read the rest. What
    the groups had still to read is counted as lost, and is not the reason. `differs`: the first message whose copy the
    last run found not to be equal. `not_shown`: what was to happen to the clusters meanwhile and did not.
    """
    if tally.faulty and not cut_short:
        return Verdict(Outcome.FAIL, tally)
    if differs is not None:
        return Verdict(Outcome.FAIL, replace(tally, first=differs))
    if tally.produced == 0:
        return Verdict(Outcome.INCONCLUSIVE, tally, "nothing_produced")
    for run in runs:
        if run.problem is not None:
            outcome, reason = run.problem
            return Verdict(Outcome.FAIL if tally.faulty else outcome, tally, reason)
    if not_shown is not None:
        return Verdict(Outcome.INCONCLUSIVE, tally, not_shown)
    return Verdict(Outcome.PASS, tally)


def judge_recovery(runs: Sequence[RunEnd], tally: Tally, recovery: Recovery, *, cut_short: bool = False) -> Verdict:
    """The same of a demo in which a cluster was lost; for a PASS what that cost must be known too."""
    verdict = replace(judge(runs, tally, cut_short=cut_short), recovery=recovery)
    if verdict.outcome is Outcome.PASS and recovery.problem is not None:
        outcome, reason = recovery.problem
        return replace(verdict, outcome=outcome, reason=reason)
    return verdict
