"""A user's suite on the real Great Expectations: what it says of messages is told by place, never by value."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kafka_migration.findings import Finding, Status
from kafka_migration.verification import judged_messages
from kafka_migration.verification.judged_messages import judge_messages
from kafka_migration.verification.newest import Message
from kafka_migration.verification.suite import data_docs_link
from kafka_migration.verification.user_suite import read_suite

Judge = Callable[..., list[Finding]]

ORDERS = [
    Message(
        number % 2,
        100 + number // 2,
        1_900_000_000_000 + number,
        f"s3cr3t-{number % 4}".encode(),
        json.dumps(
            {
                "id": number,
                "amount": "s3cr3t" if number == 3 else number * 10,
                "gone": None,
                "customer": {"name": f"s3cr3t {number}", "vip": number > 7},
            }
        ).encode(),
    )
    for number in range(10)
]
OTHERS = [
    Message(0, 200, 1, b"tombstone", None),
    Message(0, 201, 1, None, b"s3cr3t text"),
    Message(1, 202, None, None, b"\xff\x00"),
]


def expectation(kind: str, **arguments: Any) -> dict[str, Any]:
    return {"type": f"expect_{kind}", "kwargs": arguments}


@pytest.fixture
def judge(tmp_path: Path) -> Judge:
    def judged(
        *expectations: dict[str, Any], messages: list[Message] = ORDERS, docs_folder: Path | None = None
    ) -> list[Finding]:
        file = tmp_path / "suite.json"
        file.write_text(json.dumps({"name": "any", "expectations": expectations}))
        return judge_messages(
            read_suite(file), "shop.orders", messages, run_name="manual__2030-01-31T10:00:00", docs_folder=docs_folder
        )

    return judged


def test_what_holds_passes_and_what_does_not_is_told_by_its_first_places(judge: Judge) -> None:
    small = expectation("column_values_to_be_between", column="value.id", max_value=3)
    found = judge(
        expectation("column_values_to_not_be_null", column="value.customer.name"),
        small,
        {**small, "severity": "warning", "description": "orders are few"},
        {**small, "kwargs": {**small["kwargs"], "mostly": 0.4}},
        expectation("column_values_to_be_unique", column="key"),
    )
    ids = [f.id for f in found]
    assert ids[:2] == [
        "suite/shop.orders/1-expect_column_values_to_not_be_null",
        "suite/shop.orders/2-expect_column_values_to_be_between",
    ]
    assert [f.status for f in found] == [Status.PASS, Status.FAIL, Status.WARN, Status.PASS, Status.FAIL]
    places = "shop.orders/0@102, shop.orders/0@103, shop.orders/0@104, shop.orders/1@102, shop.orders/1@103 and 1 more"
    assert found[0].seen == "holds for 10 of 10 sampled messages"
    assert found[1].seen == f"broken by 6 of 10 sampled messages: {places}"
    assert found[1].expected == 'expect_column_values_to_be_between: column="value.id", max_value=3'
    assert found[2].expected == "orders are few"
    assert found[3].seen == f"holds for 4 of 10 sampled messages; it allows for the 6 that break it: {places}"
    assert found[4].seen.startswith("broken by 10 of 10 sampled messages: shop.orders/0@100, ")


def test_what_is_about_the_sample_as_a_whole_names_no_message(judge: Judge) -> None:
    found = judge(
        expectation("column_max_to_be_between", column="value.id", max_value=3),
        expectation("column_mean_to_be_between", column="value.id", min_value=4, max_value=5),
        expectation("table_columns_to_match_set", column_set=["value.id"], exact_match=False),
        expectation("column_to_exist", column="value.nowhere"),
    )
    assert [f.status for f in found] == [Status.FAIL, Status.PASS, Status.PASS, Status.FAIL]
    assert found[0].seen == "does not hold for 10 sampled messages together"


def test_what_broke_or_had_nothing_to_judge_is_inconclusive_with_the_reason(judge: Judge) -> None:
    nobody = {"type": "comparison", "column": {"name": "value.id"}, "operator": ">", "parameter": 1000}
    nowhere = {"type": "nullity", "column": {"name": "value.other"}, "is_null": True}
    found = judge(
        expectation("column_values_to_not_be_null", column="value.nowhere"),
        expectation("column_values_to_be_between", column="value.amount", min_value=0),
        expectation("column_values_to_be_between", column="value.gone", min_value=0),
        expectation("column_distinct_values_to_be_in_set", column="value.gone", value_set=[1]),
        expectation("column_values_to_be_between", column="value.id", min_value=0, row_condition=nobody),
        expectation("column_values_to_be_between", column="value.id", min_value=0, row_condition=nowhere),
        expectation("column_values_to_match_json_schema", column="key", json_schema={}),
        {"type": "unexpected_rows_expectation", "kwargs": {"unexpected_rows_query": "select * from {batch}"}},
        expectation("column_values_to_be_null", column="value.gone"),
    )
    assert [f.status for f in found] == [*[Status.INCONCLUSIVE] * 8, Status.PASS], "one that broke breaks no other"
    assert [f.seen for f in found[:7]] == [
        "no sampled message has value.nowhere",
        "it broke (TypeError); value.amount holds number (9) and text (1, first shop.orders/1@101)",
        "no sampled message that it is about has a value in value.gone",
        "no sampled message that it is about has a value in value.gone",
        "no sampled message that it is about has a value in value.id",
        "no sampled message has value.other",
        "it broke (an error of Great Expectations); key holds text (10)",
    ]


def test_tombstones_texts_and_bytes_have_the_columns_that_every_message_has(judge: Judge) -> None:
    found = judge(
        expectation("column_values_to_be_null", column="value"),
        expectation("column_values_to_match_regex", column="value", regex="^0x[0-9a-f]+$"),
        expectation("column_values_to_not_be_null", column="_timestamp"),
        messages=OTHERS,
    )
    assert [f.seen for f in found] == [
        "broken by 2 of 3 sampled messages: shop.orders/0@201, shop.orders/1@202",
        "broken by 1 of 3 sampled messages: shop.orders/0@201",
        "broken by 1 of 3 sampled messages: shop.orders/1@202",
    ]


def test_columns_as_such_are_not_judged_where_there_are_too_many(judge: Judge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judged_messages, "MOST_COLUMNS", 9)
    found = judge(
        expectation("table_columns_to_match_set", column_set=["value.id"]),
        expectation("column_values_to_not_be_null", column="value.id"),
    )
    assert [f.status for f in found] == [Status.INCONCLUSIVE, Status.PASS]
    assert found[0].seen == "the sampled messages have 10 columns; up to 9 are judged together"


def test_no_part_of_a_message_is_in_a_finding_a_log_or_a_page(
    judge: Judge, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    docs = tmp_path / "docs"
    found = judge(
        expectation("column_values_to_be_between", column="value.amount", min_value=0),
        expectation("column_values_to_be_in_set", column="value.customer.name", value_set=["x"]),
        expectation("column_values_to_be_in_set", column="key", value_set=["x"]),
        expectation("column_values_to_be_unique", column="key"),
        expectation("compound_columns_to_be_unique", column_list=["key", "_partition"]),
        expectation("column_pair_values_to_be_equal", column_A="key", column_B="value.customer.name"),
        expectation("column_most_common_value_to_be_in_set", column="key", value_set=["x"]),
        expectation("column_distinct_values_to_be_in_set", column="key", value_set=["x"]),
        expectation("column_min_to_be_between", column="key", max_value=1),
        expectation("column_mean_to_be_between", column="key", max_value=1),
        expectation("column_values_to_match_json_schema", column="key", json_schema={}),
        expectation("column_values_to_match_strftime_format", column="key", strftime_format="%Y"),
        expectation("table_columns_to_match_set", column_set=["x"]),
        messages=[*ORDERS, *OTHERS],
        docs_folder=docs,
    )
    assert Status.PASS not in {f.status for f in found}
    assert "s3cr3t" not in str(found)
    assert "s3cr3t" not in caplog.text + "".join(capfd.readouterr())
    assert data_docs_link(docs) is not None
    files = [file for file in docs.rglob("*") if file.is_file()]
    assert [file for file in files if b"s3cr3t" in file.read_bytes()] == []
    page = next((docs / "validations").rglob("*.html")).read_text()
    assert "unexpected values found" in page, "counts are shown"
    assert [file for file in files if b"fingerprint" in file.read_bytes()] == [], "a digest of a short value tells it"


def test_table_that_cannot_be_made_tells_no_value(judge: Judge, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> object:
        raise ValueError("s3cr3t")

    monkeypatch.setattr(judged_messages._Table, "frame", broken)
    [found] = judge(expectation("column_values_to_not_be_null", column="value.id"))
    assert (found.status, found.seen) == (
        Status.INCONCLUSIVE,
        "it broke (ValueError); value.id holds number (10)",
    )
