"""The last line: a PASS only when every run did what it should and no message is at fault, else what is wrong."""

from __future__ import annotations

from dataclasses import replace

import pytest

from demo.verdict import Outcome, RunEnd, Tally, Verdict, judge, unknown

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
