"""A suite in a file: what Great Expectations writes is read; what cannot be judged by is refused with the reason."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kafka_migration.verification.user_suite import read_suite

NOT_NULL = {"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "value.id"}}


def file(folder: Path, content: Any) -> Path:
    written = folder / "orders.json"
    written.write_text(content if isinstance(content, str) else json.dumps(content))
    return written


def suite(*expectations: Any) -> dict[str, Any]:
    return {"name": "orders", "expectations": list(expectations)}


def test_suite_is_read_as_great_expectations_writes_it(tmp_path: Path) -> None:
    import great_expectations as gx
    from great_expectations.expectations.row_conditions import Column

    context = gx.get_context(mode="ephemeral")
    written = context.suites.add(
        gx.ExpectationSuite(
            name="orders",
            expectations=[
                gx.expectations.ExpectColumnValuesToNotBeNull(column="value.id", description="every order has an id"),
                gx.expectations.ExpectColumnValuesToBeBetween(
                    column="value.amount",
                    min_value=0,
                    mostly=0.9,
                    severity="warning",
                    row_condition=Column("value.status") == "paid",
                ),
            ],
        )
    )
    assert written.expectations[0].id, "a suite that was stored has ids, which another must not have"
    text = json.dumps(written.to_json_dict())
    read = read_suite(file(tmp_path, text))
    assert read.text == text
    first, second = read.expectations
    assert (first.name, str(first)) == ("1-expect_column_values_to_not_be_null", "every order has an id")
    assert (first.severity, second.severity) == ("critical", "warning")
    assert (second.columns, second.chosen_by) == (("value.amount",), ("value.status",))
    assert str(second).startswith('expect_column_values_to_be_between: column="value.amount"')
    assert second.built().mostly == 0.9


def test_how_it_is_carried_out_is_not_the_suites_to_say(tmp_path: Path) -> None:
    said = {"result_format": "COMPLETE", "catch_exceptions": False, "batch_id": "x"}
    read = read_suite(file(tmp_path, suite({**NOT_NULL, "kwargs": {"column": "key", **said}})))
    assert read.expectations[0].arguments == {"column": "key"}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", "line 1, column 1: not JSON: Expecting value"),
        ('{"name": "a",\n', "line 2, column 1: not JSON: "),
        ([], "it is no suite: a mapping with a list of `expectations` is needed"),
        ({"name": "a"}, "it is no suite: a mapping with a list of `expectations` is needed"),
        (suite(), "it has no expectation"),
        (suite(NOT_NULL, "x"), "expectation 2: `type` is missing, such as "),
        (suite({"kwargs": {}}), "expectation 1: `type` is missing, such as "),
        (suite({**NOT_NULL, "kwargs": [1]}), "expectation 1 (expect_column_values_to_not_be_null): `kwargs` must be "),
        (suite({"type": "expect_the_best"}), "expectation 1 (expect_the_best): expect_the_best not found"),
        (suite({**NOT_NULL, "kwargs": {}}), "expectation 1 (expect_column_values_to_not_be_null): "),
        (suite({**NOT_NULL, "kwargs": {"column": "a", "mostly": 7}}), "expectation 1 (expect_column_values_to_not_be_"),
        (suite({**NOT_NULL, "severity": "fatal"}), "expectation 1 (expect_column_values_to_not_be_null): "),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_is_no_suite_is_refused_with_the_reason(tmp_path: Path, content: Any, told: str) -> None:
    with pytest.raises(ValueError) as refused:  # noqa: PT011 - the text is compared below
        read_suite(file(tmp_path, content))
    assert str(refused.value).startswith(told)


def test_file_that_is_not_there_or_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="there is no such file"):
        read_suite(tmp_path / "orders.json")
    (tmp_path / "orders.json").write_bytes(b"\xff")
    with pytest.raises(ValueError, match="it cannot be read"):
        read_suite(tmp_path / "orders.json")
    with pytest.raises(ValueError, match="it cannot be read"):
        read_suite(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"value_set": {"$PARAMETER": "known"}}, r"\$PARAMETER: nothing gives suite parameters here"),
        ({"row_condition": "key > 1", "condition_parser": "pandas"}, "row_condition: a text can run code"),
        (
            {"row_condition": {"type": "pass_through", "pass_through_filter": "@x"}},
            "row_condition: a text can run code",
        ),
        (
            {"row_condition": {"type": "and", "conditions": [{"type": "pass_through", "pass_through_filter": "@x"}]}},
            "row_condition: a text can run code",
        ),
        (
            {"row_condition": {"type": "nullity", "column": {"name": "a` or @x or `b"}, "is_null": True}},
            "row_condition: the name of a column cannot hold a backtick",
        ),
    ],
)
def test_what_would_run_code_or_break_every_other_expectation_is_refused(
    tmp_path: Path, arguments: dict[str, Any], told: str
) -> None:
    one = {"type": "expect_column_values_to_be_in_set", "kwargs": {"column": "key", "value_set": [1], **arguments}}
    with pytest.raises(ValueError, match=told):
        read_suite(file(tmp_path, suite(NOT_NULL, one)))
