"""The audit log of a step: aligned tables, every change, findings that stop first."""

from __future__ import annotations

import json

from kafka_migration.findings import Finding, Status
from kafka_migration.report import Change, StepReport, Table, findings_table


def test_numbers_stand_right_with_thousands_and_texts_left() -> None:
    table = Table("Groups", ("group", "left", "rate"), (("billing", 12345, 1.25), ("audit", 7, None)))
    assert table.lines() == [
        "Groups",
        "group      left  rate",
        "-------  ------  ----",
        "billing  12,345   1.2",
        "audit         7     -",
    ]


def test_cell_of_several_lines_keeps_the_table_aligned() -> None:
    table = Table("Brokers", ("broker", "problem", "n"), (("a:1", "no answer\ncause: refused", 1), ("b:1", "", 2)))
    assert table.lines() == [
        "Brokers",
        "broker  problem         n",
        "------  --------------  -",
        "a:1     no answer       1",
        "        cause: refused",
        "b:1                     2",
    ]


def test_table_without_rows_shows_its_columns() -> None:
    assert Table("None", ("a", "bb"), ()).lines() == ["None", "a  bb", "-  --"]


def test_truth_values_are_words() -> None:
    assert Table("T", ("ok",), ((True,), (False,))).lines()[3:] == ["yes", " no"]


def test_findings_that_stop_come_first_and_passes_last() -> None:
    rows = findings_table(
        [
            Finding("p/1", Status.PASS, "fine"),
            Finding("w/1", Status.WARN, "hm"),
            Finding("i/1", Status.INCONCLUSIVE, "unseen", accepted="known"),
            Finding("f/1", Status.FAIL, "bad"),
        ]
    ).rows
    assert [row[1] for row in rows] == ["f/1", "i/1", "w/1", "p/1"]
    assert rows[1][4] == "accepted: known"


def test_report_tells_what_was_changed_and_what_would_be() -> None:
    report = StepReport(
        "done",
        changes=[Change("service a", "source", "target"), Change("service b", "source", "target", done=False)],
        findings=[Finding("f/1", Status.FAIL, "bad", advice="mend it")],
        notes=["a note"],
    )
    lines = report.lines()
    assert "changed service a: source -> target" in lines
    assert "would change service b: source -> target" in lines
    assert "f/1: mend it" in lines
    assert lines[-1] == "done"
    assert "a note" in lines


def test_report_is_json() -> None:
    report = StepReport("s", [Table("t", ("a",), ((1,),))], [Change("x", "1", "2")], [Finding("f/1", Status.PASS, "y")])
    again = json.loads(json.dumps(report.to_json()))
    assert again["findings"][0]["status"] == "PASS"
    assert again["tables"][0]["rows"] == [[1]]
    assert again["changes"][0]["done"] is True
