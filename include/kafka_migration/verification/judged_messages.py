"""A sample of messages judged by a user's suite: one finding for each expectation.

Messages may hold what nobody else may see. So no finding, no error and no page of Data Docs made here shows any part of
one: only counts, and the places at which a message can be looked up by whoever may read the topic.
"""

from __future__ import annotations

import builtins
import logging
import re
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kafka_migration.findings import Finding, Status
from kafka_migration.verification.columns import columns_of, kind_of
from kafka_migration.verification.context import open_context, quiet
from kafka_migration.verification.newest import Message
from kafka_migration.verification.user_suite import UserSuite, Wanted

MOST_COLUMNS = 500
_PLACES = 5
_PLACE = ("_partition", "_offset")
_LOOK = (
    "read these messages on the target: they are what was written there; the suite or their writer is wrong about them"
)
_TOGETHER = "read the topic on the target: it is about what its messages hold together, so that none can be named"
_MEND = "correct the suite for what the topic holds, or sample more of its messages; then clear this task"
# What is taken over from a result into Data Docs: numbers of rows, never what they hold.
_COUNTS = (
    *("element_count", "missing_count", "missing_percent", "unexpected_count", "unexpected_percent"),
    *("unexpected_percent_total", "unexpected_percent_nonmissing"),
)


def judge_messages(
    suite: UserSuite, topic: str, messages: Sequence[Message], *, run_name: str, docs_folder: Path | None
) -> list[Finding]:
    """One finding for each expectation of the suite. `messages`: at least one.

    PASS where it holds, with as many exceptions as it allows; FAIL where it does not, WARN if its severity is less than
    critical; INCONCLUSIVE where it broke or had nothing to judge.
    """
    table = _Table(topic, suite, messages)
    with quiet(logging.CRITICAL), warnings.catch_warnings():  # an error or a warning may quote a value
        warnings.simplefilter("ignore")
        outcomes = _validate(suite, table, run_name, docs_folder)
    return [_finding(table, one, outcomes.get(one.number)) for one in suite.expectations]


class _Table:
    """What messages of a topic hold, by columns: all of them by name, what they hold where the suite asks."""

    def __init__(self, topic: str, suite: UserSuite, messages: Sequence[Message]) -> None:
        self.topic = topic
        self.columns: dict[str, None] = {}
        self.rows: list[dict[str, Any]] = []
        self._asked = {*_PLACE, *(name for one in suite.expectations for name in (*one.columns, *one.chosen_by))}
        self._by_name = any(one.of_the_table for one in suite.expectations)
        for message in messages:
            found = columns_of(message)
            self.columns.update(dict.fromkeys(found))
            self.rows.append({name: value for name, value in found.items() if name in self._asked})

    @property
    def too_wide(self) -> bool:
        """Whether there are more columns than can be judged together."""
        return len(self.columns) > MOST_COLUMNS

    def values(self, column: str) -> list[tuple[Any, Mapping[str, Any]]]:
        """What there is in a column, and in which rows."""
        return [(row[column], row) for row in self.rows if row.get(column) is not None]

    def frame(self) -> Any:
        """The rows for pandas; columns that nobody asks for are empty, and there only where their names are judged."""
        import pandas as pd

        named = self._by_name and not self.too_wide
        columns = [column for column in self.columns if named or column in self._asked]
        return pd.DataFrame(self.rows, columns=columns).convert_dtypes()

    def places(self, found: Sequence[tuple[int, int]]) -> str:
        told = ", ".join(f"{self.topic}/{partition}@{offset}" for partition, offset in sorted(found)[:_PLACES])
        more = len(found) - _PLACES
        return f"{told} and {more:,} more" if more > 0 else told


@dataclass(frozen=True)
class _Outcome:
    """What was said of one expectation. `places`: partition and offset of each message that breaks it.

    `judged`: of how many messages it was said; None where it is about all of them together. `error`: why it broke.
    """

    held: bool
    judged: int | None = None
    places: tuple[tuple[int, int], ...] = ()
    error: str = ""


def _validate(suite: UserSuite, table: _Table, run_name: str, docs_folder: Path | None) -> dict[int, _Outcome]:
    import great_expectations as gx

    context = open_context(table.topic, docs_folder)
    try:
        batch = (
            context.data_sources.add_pandas("messages")
            .add_dataframe_asset("sample")
            .add_batch_definition_whole_dataframe("all")
            .get_batch({"dataframe": table.frame()})
        )
        expectations = [one.built() for one in suite.expectations]
        result = batch.validate(
            context.suites.add(gx.ExpectationSuite(name=table.topic, expectations=expectations)),
            result_format={"result_format": "COMPLETE", "unexpected_index_column_names": list(_PLACE)},
        )
    except Exception as error:  # its text may quote a value
        return {one.number: _Outcome(False, error=type(error).__name__) for one in suite.expectations}
    outcomes = {entry.expectation_config.meta["number"]: _outcome(entry) for entry in result.results}
    if docs_folder is not None:
        _write_docs(context, result, table.topic, run_name)
    return outcomes


def _outcome(entry: Any) -> _Outcome:
    result, raised = entry.result or {}, entry.exception_info or {}
    total = result.get("element_count")
    return _Outcome(
        held=bool(entry.success),
        judged=None if total is None else int(total) - int(result.get("missing_count") or 0),
        places=tuple(
            dict.fromkeys(
                (int(at["_partition"]), int(at["_offset"])) for at in result.get("unexpected_index_list") or ()
            )
        ),
        error=_cause(raised) if raised.get("raised_exception", bool(raised)) else "",
    )


def _cause(raised: Any) -> str:
    """The type of the exception that an expectation broke with. Its text may quote a value; a built-in name cannot."""
    told = re.findall(r"^(\w+Error):", "\n".join(_texts(raised)), re.MULTILINE)
    return next((name for name in told if hasattr(builtins, name)), "an error of Great Expectations")


def _texts(raised: Any) -> Iterator[str]:
    """Of an expectation's exceptions, told for each of its metrics or once, what there is to read."""
    if isinstance(raised, Mapping):
        for inner in raised.values():
            yield from _texts(inner)
    elif isinstance(raised, str):
        yield raised


def _write_docs(context: Any, result: Any, topic: str, run_name: str) -> None:
    """A page of Data Docs for the result, of which only numbers of messages are left."""
    from great_expectations.core.expectation_validation_result import (
        ExpectationSuiteValidationResult,
        ExpectationValidationResult,
    )
    from great_expectations.core.run_identifier import RunIdentifier
    from great_expectations.data_context.types.resource_identifiers import (
        ExpectationSuiteIdentifier,
        ValidationResultIdentifier,
    )

    suite, run_id = ExpectationSuiteIdentifier(name=topic), RunIdentifier(run_name=run_name)
    page = ValidationResultIdentifier(expectation_suite_identifier=suite, run_id=run_id, batch_identifier="sample")
    bare = ExpectationSuiteValidationResult(
        success=result.success,
        suite_name=topic,
        statistics=result.statistics,
        meta={"run_id": run_id, "great_expectations_version": result.meta["great_expectations_version"]},
        results=[
            ExpectationValidationResult(
                success=entry.success,
                expectation_config=entry.expectation_config,
                result={name: entry.result[name] for name in _COUNTS if name in (entry.result or {})},
            )
            for entry in result.results
        ],
    )
    context.validation_results_store.set(page, bare)
    context.build_data_docs(resource_identifiers=[page, suite])


def _finding(table: _Table, one: Wanted, outcome: _Outcome | None) -> Finding:
    sampled = len(table.rows)
    breaking = "" if outcome is None else table.places(outcome.places)

    def found(status: Status, seen: str, advice: str = "") -> Finding:
        return Finding(f"suite/{table.topic}/{one.name}", status, seen, str(one), advice)

    why = _not_judged(table, one, outcome)
    if outcome is None or why:
        return found(Status.INCONCLUSIVE, why, _MEND)
    if outcome.held:
        if outcome.judged is None:
            return found(Status.PASS, f"holds for {sampled:,} sampled messages together")
        allowed = f"; it allows for the {len(outcome.places):,} that break it: {breaking}" if outcome.places else ""
        holding = outcome.judged - len(outcome.places)
        return found(Status.PASS, f"holds for {holding:,} of {sampled:,} sampled messages{allowed}")
    status = Status.FAIL if one.severity == "critical" else Status.WARN
    if not outcome.places:
        return found(status, f"does not hold for {sampled:,} sampled messages together", _TOGETHER)
    told = f"broken by {len(outcome.places):,} of {sampled:,} sampled messages: {breaking}"
    return found(status, told, _LOOK)


def _not_judged(table: _Table, one: Wanted, outcome: _Outcome | None) -> str:
    """Why nothing can be said; empty where it can."""
    if outcome is None:
        return "it was not evaluated"
    if one.of_the_table:
        many = f"the sampled messages have {len(table.columns):,} columns; up to {MOST_COLUMNS:,} are judged together"
        return many if table.too_wide else ""
    if one.type == "expect_column_to_exist":
        return ""
    if missing := [column for column in (*one.columns, *one.chosen_by) if column not in table.columns]:
        return f"no sampled message has {', '.join(missing)}"
    if outcome.error:
        return f"it broke ({outcome.error}); {'; '.join(_kinds(table, column) for column in one.columns)}".rstrip("; ")
    empty = [column for column in one.columns if not one.of_gaps and not table.values(column)]
    if empty or outcome.judged == 0:
        return f"no sampled message that it is about has a value in {', '.join(empty or one.columns)}"
    return ""


def _kinds(table: _Table, column: str) -> str:
    """What a column holds, by kinds, with the first place of each but the most frequent one."""
    firsts: dict[str, tuple[int, int]] = {}
    counts: Counter[str] = Counter()
    for value, row in table.values(column):
        kind = kind_of(value)
        counts[kind] += 1
        firsts.setdefault(kind, (row["_partition"], row["_offset"]))
    told = [
        f"{kind} ({count:,}{f', first {table.places([firsts[kind]])}' if number else ''})"
        for number, (kind, count) in enumerate(counts.most_common())
    ]
    return f"{column} holds {' and '.join(told) or 'nothing'}"
