"""The verdict over a run: it is PASS only when everything that should have run did, and left that on record."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.evidence_samples import ACCEPTED, payload

from kafka_migration.evidence.model import Approval, StepRecord
from kafka_migration.evidence.verdict import Judgement, judge_run
from kafka_migration.findings import Finding, Status
from kafka_migration.report import StepReport

UNSURE = Finding("partitions/orders", Status.INCONCLUSIVE, "6 and 12")
BAD = Finding("coverage-origin-left/orders/0/billing", Status.FAIL, "3 not read")
GOOD = Finding("cluster-ids", Status.PASS, "two clusters")
APPROVED = Approval(task="approve", state="success", asked_at=1.0, answered_by="m.okafor", answer="Approve", at=2.0)


def record(task: str, *findings: Finding, **more: Any) -> StepRecord:
    return StepRecord.model_validate(payload(task, report=StepReport(findings=list(findings)), **more))


def judge(states: dict[str, str | None], *records: StepRecord, approvals: tuple[Approval, ...] = ()) -> Judgement:
    return judge_run(states, approvals, records)


def test_steps_that_all_succeeded_with_findings_that_do_not_stop_pass() -> None:
    judged = judge(
        {"preflight": "success", "seed": "success"},
        record("preflight", GOOD, ACCEPTED),
        record("seed"),
        approvals=(APPROVED,),
    )
    assert judged == Judgement(Status.PASS, ())


def test_a_run_of_which_nothing_is_known_fails() -> None:
    assert judge({}).verdict is Status.FAIL


@pytest.mark.parametrize("state", [None, "skipped", "removed", "running", "none", "restarting"])
def test_a_step_that_should_have_run_and_did_not_fails(state: str | None) -> None:
    judged = judge({"preflight": "success", "seed": state}, record("preflight"))
    assert judged.verdict is Status.FAIL
    assert "seed: should have run" in judged.because[0]


def test_a_step_that_was_marked_a_success_by_hand_fails() -> None:
    judged = judge({"preflight": "success", "seed": "success"}, record("preflight"))
    assert judged.verdict is Status.FAIL
    assert "left no record" in judged.because[0]


@pytest.mark.parametrize("state", ["failed", "waiting"])
def test_a_step_whose_own_record_denies_its_success_fails(state: str) -> None:
    judged = judge({"seed": "success"}, record("seed", state=state))
    assert judged.verdict is Status.FAIL
    assert f"its own record says {state}" in judged.because[0]


def test_a_failed_step_fails_with_its_error_and_names_what_did_not_run() -> None:
    judged = judge(
        {"seed": "failed", "switch": "upstream_failed"},
        record("seed", state="failed", error="target refused"),
        approvals=(Approval(task="approve", state="upstream_failed"),),
    )
    assert judged == Judgement(Status.FAIL, ("seed: target refused", "not run because of that: switch, approve"))


@pytest.mark.parametrize("kept", ["nothing", "waiting"])
def test_a_step_that_was_killed_fails(kept: str) -> None:
    records = [record("billing.drained", state="waiting")] if kept == "waiting" else []
    judged = judge({"billing.drained": "failed"}, *records)
    assert judged.verdict is Status.FAIL
    assert "without leaving a word" in judged.because[0]


def test_a_run_stopped_by_inconclusive_findings_alone_is_inconclusive() -> None:
    judged = judge(
        {"preflight": "failed", "seed": "upstream_failed"},
        record("preflight", GOOD, UNSURE, state="failed", error="1 finding stops the run"),
    )
    assert judged.verdict is Status.INCONCLUSIVE
    assert judged.because == ("INCONCLUSIVE partitions/orders: 6 and 12", "not run because of that: seed")


def test_an_inconclusive_stop_beside_another_failure_fails() -> None:
    judged = judge(
        {"preflight": "failed", "seed": "failed"},
        record("preflight", UNSURE, state="failed"),
        record("seed", state="failed", error="refused"),
    )
    assert judged.verdict is Status.FAIL
    assert judged.because[0] == "seed: refused"


def test_a_failed_finding_outweighs_an_inconclusive_one() -> None:
    judged = judge({"coverage": "failed"}, record("coverage", UNSURE, BAD, state="failed", error="2 findings"))
    assert judged.verdict is Status.FAIL


@pytest.mark.parametrize(("finding", "verdict"), [(UNSURE, Status.INCONCLUSIVE), (BAD, Status.FAIL)])
def test_a_finding_that_stops_counts_although_its_step_went_on(finding: Finding, verdict: Status) -> None:
    assert judge({"coverage": "success"}, record("coverage", finding)).verdict is verdict


@pytest.mark.parametrize(
    ("approval", "told"),
    [
        (
            Approval(task="approve", state="failed", asked_at=1.0, answered_by="l.brandt", answer="Reject", at=2.0),
            "Reject by l.brandt",
        ),
        (Approval(task="approve", state="failed", asked_at=1.0), "not answered in time"),
        (Approval(task="approve", state="skipped"), "not asked"),
    ],
)
def test_an_approval_that_was_not_given_fails(approval: Approval, told: str) -> None:
    judged = judge({"preflight": "success"}, record("preflight"), approvals=(approval,))
    assert judged.verdict is Status.FAIL
    assert told in judged.because[0]


def test_steps_that_did_not_run_for_no_known_reason_fail() -> None:
    judged = judge({"preflight": "success", "seed": "upstream_failed"}, record("preflight"))
    assert judged.verdict is Status.FAIL
