"""The last line: a PASS only when every run did what it should and no message is at fault, else what is wrong."""

from __future__ import annotations

from dataclasses import replace

import pytest

from demo.verdict import Outcome, Recovery, RunEnd, Tally, Verdict, judge, judge_recovery, unknown

WHOLE = Tally(produced=100)
PASSED = RunEnd("migration", "success", "PASS")
REJECTED = RunEnd("stopped_migration", "failed", "FAIL", rejected=True, side=None)
BACK = RunEnd("rollback", "success", "PASS", side="source")


@pytest.mark.parametrize("runs", [[PASSED], [PASSED, BACK, PASSED], [REJECTED, BACK, PASSED]])
def test_only_passed_gates_with_clean_counts_and_everyone_where_he_should_be_are_a_pass(runs: list[RunEnd]) -> None:
    verdict = judge(runs, WHOLE)

    assert verdict.exit_code == 0
    assert verdict.line == "verdict PASS produced=100 lost=0 repeated=0 out_of_order=0"


@pytest.mark.parametrize(
    ("verdict", "outcome", "end"),
    [
        (judge([replace(PASSED, state="failed")], WHOLE), Outcome.FAIL, "migration_failed_gate_PASS"),
        (judge([replace(PASSED, state="failed", gate=None)], WHOLE), Outcome.FAIL, "migration_failed_gate_missing"),
        (judge([replace(PASSED, gate="FAIL")], WHOLE), Outcome.FAIL, "migration_success_gate_FAIL"),
        (judge([replace(PASSED, gate=None)], WHOLE), Outcome.INCONCLUSIVE, "migration_left_no_evidence"),
        (
            judge([replace(PASSED, state="failed", gate="INCONCLUSIVE")], WHOLE),
            Outcome.INCONCLUSIVE,
            "migration_failed_gate_INCONCLUSIVE",
        ),
        (judge([PASSED], Tally()), Outcome.INCONCLUSIVE, "nothing_produced"),
        (
            judge([replace(PASSED, elsewhere=("audit", "billing"))], WHOLE),
            Outcome.FAIL,
            "not_on_target:audit,billing",
        ),
        (judge([PASSED, replace(BACK, elsewhere=("audit",))], WHOLE), Outcome.FAIL, "not_on_source:audit"),
        (
            judge([REJECTED, replace(BACK, state="failed", gate="FAIL")], WHOLE, cut_short=True),
            Outcome.FAIL,
            "rollback_failed_gate_FAIL",
        ),
        (unknown("interrupted"), Outcome.INCONCLUSIVE, "interrupted"),
    ],
)
def test_whatever_is_missing_is_never_a_pass_and_has_a_reason(verdict: Verdict, outcome: Outcome, end: str) -> None:
    assert verdict.outcome is outcome
    assert verdict.exit_code != 0
    assert verdict.line.endswith(f" reason={end}")


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        (replace(REJECTED, state="success", gate="PASS"), "stopped_migration_success_gate_PASS"),
        (replace(REJECTED, broken=("switch_producers",)), "stopped_migration_broken:switch_producers"),
    ],
)
def test_run_whose_approvals_are_rejected_fails_for_that_and_for_nothing_else(end: RunEnd, reason: str) -> None:
    verdict = judge([end], WHOLE, cut_short=True)

    assert verdict.outcome is Outcome.FAIL
    assert verdict.line.endswith(f" reason={reason}")


@pytest.mark.parametrize("fault", ["lost", "repeated", "out_of_order"])
def test_one_faulty_message_is_a_fail_that_names_it_though_the_gate_passed(fault: str) -> None:
    verdict = judge([PASSED], Tally(produced=100, first=f"orders/3@42:{fault}", **{fault: 1}))

    assert verdict.outcome is Outcome.FAIL
    assert verdict.line.endswith(f" first=orders/3@42:{fault}")


def test_disorder_passes_where_the_scheme_trades_it_and_is_still_told() -> None:
    verdict = judge([PASSED], Tally(produced=100, out_of_order=7, order_may_bend=True))

    assert verdict.line == "verdict PASS produced=100 lost=0 repeated=0 out_of_order=7"


def test_what_was_left_unread_when_a_demo_is_cut_short_is_not_its_reason() -> None:
    left = Tally(produced=100, lost=30, first="orders/3@42:lost")
    verdict = judge([PASSED, replace(BACK, state="failed", gate="INCONCLUSIVE")], left, cut_short=True)

    assert verdict.outcome is Outcome.FAIL
    assert verdict.line.endswith("lost=30 repeated=0 out_of_order=0 reason=rollback_failed_gate_INCONCLUSIVE")


FOLLOWED = [RunEnd("failover", "success", "PASS"), BACK, RunEnd("verification", "success", "PASS", side="source")]
RECOVERED = Recovery(rpo=12, counted=11, rto=41.26, announced={"billing": 40, "audit": 3}, repeated={"billing": 40})
LOST_ONE = Tally(produced=100, repeated=40, out_of_order=5, order_may_bend=True, may_repeat=True)


def test_loss_that_cost_no_more_than_was_told_is_a_pass_that_says_what_it_cost() -> None:
    verdict = judge_recovery(FOLLOWED, LOST_ONE, RECOVERED)

    assert verdict.exit_code == 0
    assert verdict.line == "verdict PASS produced=100 lost=0 repeated=40 out_of_order=5 rpo=12 rto=41.3"


@pytest.mark.parametrize(
    ("recovery", "outcome", "end"),
    [
        (
            replace(RECOVERED, repeated={"billing": 41, "audit": 3, "shipping": 1}),
            Outcome.FAIL,
            "rpo=12 rto=41.3 reason=repeated_more_than_announced:billing,shipping",
        ),
        (replace(RECOVERED, counted=13), Outcome.FAIL, "rpo=12 rto=41.3 reason=13_not_mirrored_and_12_told"),
        (replace(RECOVERED, rpo=None), Outcome.INCONCLUSIVE, "rpo=unknown rto=41.3 reason=rpo_unknown"),
        (replace(RECOVERED, counted=None), Outcome.INCONCLUSIVE, "rpo=12 rto=41.3 reason=rpo_unknown"),
        (replace(RECOVERED, rto=None), Outcome.INCONCLUSIVE, "rpo=12 rto=unknown reason=rto_unknown"),
    ],
)
def test_loss_that_cost_more_than_was_told_or_nobody_knows_what_is_no_pass(
    recovery: Recovery, outcome: Outcome, end: str
) -> None:
    verdict = judge_recovery(FOLLOWED, LOST_ONE, recovery)

    assert verdict.outcome is outcome
    assert verdict.line.endswith(f" {end}")


def test_lost_message_after_the_failback_is_named_behind_what_the_loss_cost() -> None:
    verdict = judge_recovery(FOLLOWED, replace(LOST_ONE, lost=1, first="orders/3@42:lost"), RECOVERED)

    assert verdict.outcome is Outcome.FAIL
    assert verdict.line.endswith(" lost=1 repeated=40 out_of_order=5 rpo=12 rto=41.3 first=orders/3@42:lost")


def test_run_that_failed_is_the_reason_and_not_what_its_failure_left_unread_or_unknown() -> None:
    failed = [replace(FOLLOWED[0], state="failed", gate="FAIL")]
    verdict = judge_recovery(failed, replace(LOST_ONE, lost=9, first="any"), Recovery(), cut_short=True)

    assert verdict.outcome is Outcome.FAIL
    assert verdict.line.endswith(" rpo=unknown rto=unknown reason=failover_failed_gate_FAIL")
