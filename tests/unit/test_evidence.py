"""The evidence of a run, as JSON by its published schema and as a page that needs nothing but itself."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from tests.unit.evidence_samples import BEGAN, FACTS, PLAN, REPORTS, ROW, RUN_ID, bundle_at, facts, payload, write_run

from kafka_migration.errors import EvidenceError
from kafka_migration.evidence.assemble import assemble, sides
from kafka_migration.evidence.bundle import Bundle
from kafka_migration.evidence.model import Approval, Evidence
from kafka_migration.evidence.page import render, timeline
from kafka_migration.evidence.publish import publish, schema_text
from kafka_migration.evidence.words import duration
from kafka_migration.findings import Finding, Status
from kafka_migration.offsets import TopicPartition
from kafka_migration.report import Change, StepReport, Table
from kafka_migration.steps.content import entries, totals
from kafka_migration.verification.differences import ContentResult, RangePair

SCHEMA = Path(__file__).parents[2] / "docs" / "evidence.schema.json"


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return write_run(bundle_at(tmp_path))


def page_of(bundle: Bundle) -> str:
    return (bundle.folder / "evidence.html").read_text(encoding="utf-8")


# -- the JSON


def test_evidence_of_a_whole_run_is_true_to_its_steps(bundle: Bundle) -> None:
    evidence = publish(bundle, FACTS)
    assert (evidence.verdict, evidence.because) == ("PASS", ())
    assert [s.task for s in evidence.steps] == list(REPORTS)
    assert [s.duration for s in evidence.steps] == [4.0] * 4
    assert [(p.number, p.offsets) for p in evidence.cutover_points] == [
        (1, {"orders/0": 1490}),
        (2, {"orders/0": 1500}),
    ]
    assert [row.model_dump() for row in evidence.coverage] == [ROW.to_json()]
    assert [(d.service, d.group, d.ended - d.started) for d in evidence.drains] == [("billing", "billing", 4.0)]
    assert [(f.id, f.task, f.accepted_by) for f in evidence.findings if f.accepted] == [
        ("writers/orders", "preflight", "the plan")
    ]
    assert evidence.plan_text == PLAN.text
    assert evidence.plan_digest == PLAN.digest
    assert evidence.summary == {
        "verdict": "PASS",
        "duration": "1 min 00 s",
        "moved": "2 services, 1 group, 1 topic, 1 partition",
        "messages proven": "1,430 summed over the groups (1,400 read on the source, 30 on the target)",
        "longest drain": "4.0 s (billing)",
        "longest pause": "not measured",
        "findings accepted": "writers/orders",
        "evidence": str(bundle),
    }


def test_of_a_rollback_the_target_is_what_was_left_and_the_source_what_was_reached(tmp_path: Path) -> None:
    assert (sides("migrate"), sides("rollback")) == (("source", "target"), ("target", "source"))
    bundle = write_run(Bundle(tmp_path, "orders", "rollback", RUN_ID))
    evidence = publish(bundle, FACTS)
    assert evidence.summary["messages proven"].endswith("(1,400 read on the target, 30 on the source)")
    page = page_of(bundle)
    assert "Every group read the target to its cutover point without a hole" in page
    assert "reads the source from its seed on" in page


def test_evidence_holds_to_its_published_schema(bundle: Bundle) -> None:
    publish(bundle, FACTS)
    written = json.loads((bundle.folder / "evidence.json").read_text(encoding="utf-8"))
    assert next(iter(written)) == "schema_version"
    schema = json.loads(SCHEMA.read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.Draft202012Validator(schema).validate(written)
    assert Evidence.model_validate(written) == assemble(bundle, FACTS)


def test_the_published_schema_is_up_to_date() -> None:
    assert SCHEMA.read_text() == schema_text(), "write kafka_migration.evidence.publish.schema_text() to docs again"


def test_only_the_last_attempt_is_judged_and_all_are_shown(bundle: Bundle) -> None:
    bad = Finding("seeds/billing", Status.FAIL, "not read back")
    bundle.write_step(
        "switch_producers",
        2,
        payload("switch_producers", 2, state="failed", error="killed", started_at=BEGAN + 16, ended_at=BEGAN + 17),
    )
    bundle.write_step("seed", 1, payload("seed", state="failed", error="refused", report=StepReport(findings=[bad])))
    bundle.write_step("seed", 2, payload("seed", 2))
    bundle.write_step("switch_producers", 3, payload("switch_producers", 3, started_at=BEGAN + 18, ended_at=BEGAN + 20))
    evidence = assemble(bundle, facts(steps={**FACTS.steps, "seed": "success"}))
    assert evidence.verdict == "PASS"
    assert bad.id not in {f.id for f in evidence.findings}
    step = next(s for s in evidence.steps if s.task == "switch_producers")
    assert [(a.attempt, a.state, a.error) for a in step.attempts] == [
        (1, "success", None),
        (2, "failed", "killed"),
        (3, "success", None),
    ]
    assert step.duration == 10.0


def test_a_run_that_left_nothing_is_a_failure_with_evidence_all_the_same(tmp_path: Path) -> None:
    bundle = bundle_at(tmp_path)
    evidence = publish(bundle, facts(steps=dict.fromkeys(REPORTS), approvals=(), points={}))
    assert evidence.verdict == "FAIL"
    assert [s.state for s in evidence.steps] == ["none"] * 4
    assert "moved" not in evidence.summary
    assert evidence.summary["messages proven"].startswith("none")
    assert "FAIL" in page_of(bundle)


def test_nothing_is_called_moved_in_a_dry_run(bundle: Bundle) -> None:
    evidence = publish(bundle, facts(dry_run=True))
    assert evidence.summary["verdict"] == "PASS (dry run: nothing was changed)"
    assert "moved" not in evidence.summary
    page = page_of(bundle)
    assert "nothing was changed" in page
    assert "What would be changed" in page
    assert "services moved" not in page


def test_a_step_without_the_data_that_the_evidence_needs_is_named(tmp_path: Path) -> None:
    bundle = write_run(
        bundle_at(tmp_path), {**REPORTS, "coverage": StepReport(data={"coverage": [{"topic": "orders"}]})}
    )
    with pytest.raises(EvidenceError, match="data is not what the evidence needs"):
        assemble(bundle, FACTS)


def test_a_secret_is_kept_out_of_json_and_page(tmp_path: Path) -> None:
    write_run(bundle_at(tmp_path))
    bundle = bundle_at(tmp_path, forbidden={"CHG-20417"})
    with pytest.raises(EvidenceError, match=r"secret.* at reason"):
        publish(bundle, FACTS)
    assert not (bundle.folder / "evidence.json").exists()
    assert not (bundle.folder / "evidence.html").exists()


# -- the page


class _Elements(HTMLParser):
    """Every element with its attributes, and whether all that were opened were closed in order."""

    VOID = frozenset({"meta", "br", "rect", "polygon", "polyline"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag


def test_the_page_is_whole_and_loads_nothing_from_anywhere(bundle: Bundle) -> None:
    publish(bundle, FACTS)
    page = page_of(bundle)
    elements = _Elements(page)
    assert elements.open == []
    assert not {"script", "link", "img", "iframe", "object", "embed", "form"} & {tag for tag, _ in elements.found}
    assert {a["href"] for _, a in elements.found if "href" in a} == {"evidence.json", "data_docs/coverage.html"}
    assert not [a for _, a in elements.found if {"src", "style"} & a.keys() or any(k.startswith("on") for k in a)]
    assert not re.search(r"url\(|@import|https?://", page)


def test_the_page_tells_what_a_manager_asks(bundle: Bundle) -> None:
    publish(bundle, FACTS)
    page = page_of(bundle)
    for told in (
        "<strong>PASS</strong>",
        "1 February 2030",
        "06:00:00 to 06:01:00 UTC",
        "a.lindqvist",
        "CHG-20417",
        "m.okafor",
        "1 finding could not be decided and was accepted",
        "CHG-1: the &lt;batch&gt; job is stopped",
        "12,345",
        "a commit proves reading, not processing",
        "Stage first, point 2",
        "old:9092",
        PLAN.digest,
    ):
        assert told in page


@pytest.mark.parametrize(
    ("level", "told"),
    [
        ("content", "Every copied message that was compared is there, unaltered and in order."),
        ("sample", "In the sample every copied message that was compared is there, unaltered and in order."),
        ("counts", "what they hold was not compared. Every copied message that was counted is there."),
    ],
)
def test_a_verification_of_copies_claims_what_its_level_shows(tmp_path: Path, level: str, told: str) -> None:
    partition = TopicPartition("orders", 0)
    pair, found = RangePair(partition, 0, 1600, 7, 1622), ContentResult(partition, False, 1500, 1500, 1500)
    proof = StepReport(data={"level": level, "compared": totals({partition: found})})
    proof.data["content"] = entries([pair], {partition: found})
    reports = {"drift": StepReport(), "ranges": StepReport(), "compare": StepReport(), "proof": proof}
    bundle = write_run(Bundle(tmp_path, "orders", "verify", RUN_ID), reports)
    evidence = publish(bundle, facts(steps=dict.fromkeys(reports, "success"), points={}, approvals=()))
    assert evidence.summary["verified"].endswith(f"; level {level}")
    done = "counted" if level == "counts" else "compared"
    assert evidence.summary[f"messages {done}"].startswith("1,500 of 1 partitions")
    page = page_of(bundle)
    assert told in page
    assert "<h2>Copies</h2>" in page
    assert all(f">{offset:,}<" in page for offset in (1600, 1622, 1500))
    assert "longest drain" not in page
    assert "Coverage" not in page


def test_everything_that_comes_from_outside_is_escaped(tmp_path: Path) -> None:
    evil = "<script>alert(1)</script>\"'&"
    report = StepReport(
        evil,
        tables=[Table(evil, (evil,), ((evil,),))],
        changes=[Change(evil, evil, evil)],
        findings=[Finding(evil, Status.FAIL, evil, evil, evil), Finding(evil, Status.PASS, evil)],
        notes=[evil],
        data={"service": evil, "samples": {evil: [[BEGAN, 5], [BEGAN + 1, 0]]}},
    )
    bundle = bundle_at(tmp_path)
    bundle.write_step("preflight", 1, payload("preflight", report=report, error=evil))
    approval = Approval(task=evil, state="failed", asked_at=BEGAN, answered_by=evil, answer=evil, at=BEGAN + 1)
    publish(bundle, facts(reason=evil, triggered_by=evil, approvals=(approval,)))
    page = page_of(bundle)
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert _Elements(page).open == []


def test_a_failed_run_says_why_and_does_not_claim_more(bundle: Bundle) -> None:
    bundle.write_step("coverage", 2, payload("coverage", 2, state="failed", error="3 messages\nnot read"))
    evidence = publish(bundle, facts(steps={**FACTS.steps, "coverage": "failed", "gone": "upstream_failed"}))
    page = page_of(bundle)
    assert evidence.summary["verdict"] == "FAIL: coverage: 3 messages (and 1 more)"
    assert "coverage: 3 messages\nnot read" in page
    assert "not run because of that: gone" in page
    assert "<strong>PASS</strong>" not in page
    assert "services moved" not in page


def test_a_count_that_is_missing_is_shown_as_missing(tmp_path: Path) -> None:
    row = {**ROW.to_json(), "origin_visible": None}
    bundle = write_run(bundle_at(tmp_path), {**REPORTS, "coverage": StepReport(data={"coverage": [row]})})
    publish(bundle, FACTS)
    assert "not counted" in page_of(bundle)


def test_a_run_that_found_its_work_done_says_so(tmp_path: Path) -> None:
    reports = {**REPORTS, "switch_producers": StepReport("runs on the target already")}
    bundle = write_run(bundle_at(tmp_path), reports)
    publish(bundle, FACTS)
    assert "Nothing had to be changed" in page_of(bundle)


def test_every_bar_of_the_timeline_lies_within_the_run(bundle: Bundle) -> None:
    bundle.write_step("late", 1, payload("late", started_at=BEGAN + 59, ended_at=BEGAN + 400))
    bundle.write_step("early", 1, payload("early", started_at=BEGAN - 30, ended_at=BEGAN - 30))
    bars = timeline(assemble(bundle, facts(steps={**FACTS.steps, "never": "upstream_failed"})))
    assert [b.name for b in bars][-1] == "never"
    drawn = [b for b in bars if b.width is not None]
    assert len(drawn) == 7
    assert all(b.x >= 0 and b.width is not None and b.width > 0 and b.x + b.width <= 1000 for b in drawn)


def test_a_group_that_had_nothing_left_is_drawn_without_a_division_by_zero(tmp_path: Path) -> None:
    report = StepReport(data={"service": "billing", "samples": {"billing": [[BEGAN, 0]], "none": []}})
    bundle = write_run(bundle_at(tmp_path), {**REPORTS, "billing.drained": report})
    publish(bundle, FACTS)
    assert "nothing was left" in page_of(bundle)


def test_ten_thousand_rows_are_one_page(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {**ROW.to_json(), "partition": n % 100, "topic": f"topic-{n // 100}"} for n in range(10_000)
    ]
    bundle = write_run(bundle_at(tmp_path), {**REPORTS, "coverage": StepReport(data={"coverage": rows})})
    page = render(assemble(bundle, FACTS))
    assert "10,000 rows" in page
    assert "14,300,000" in page


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0 s"),
        (59.94, "59.9 s"),
        (59.96, "1 min 00 s"),
        (192, "3 min 12 s"),
        (3599.7, "1 h 00 min"),
        (7500, "2 h 05 min"),
        (100_800, "1 d 4 h"),
    ],
)
def test_durations_read_as_a_person_says_them(seconds: float, text: str) -> None:
    assert duration(seconds) == text
