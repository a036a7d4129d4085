"""Suites that users write: reading one from its file, in the form that `ExpectationSuite.to_json_dict()` gives.

It judges nothing. What cannot be judged here, or would let a suite run code of its own, is refused with the reason.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Of an expectation's arguments those that say how it is carried out: that is decided here.
_NOT_THEIRS = ("result_format", "catch_exceptions", "batch_id")
_COLUMNS = ("column", "column_A", "column_B", "column_list", "column_set")
_LONGEST = 300


@dataclass(frozen=True)
class Wanted:
    """One expectation of a suite, by its `number` from 1 on."""

    number: int
    type: str
    arguments: Mapping[str, Any]
    severity: str
    description: str

    def __str__(self) -> str:
        """What it promises, in a line."""
        told = ", ".join(f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in self.arguments.items())
        return _shortened(self.description or f"{self.type}: {told}")

    @property
    def name(self) -> str:
        return f"{self.number}-{self.type}"

    @property
    def columns(self) -> tuple[str, ...]:
        """Those that it judges, by their names."""
        named = (self.arguments.get(key) for key in _COLUMNS)
        return _names(entry for value in named for entry in (value if isinstance(value, list) else [value]))

    @property
    def chosen_by(self) -> tuple[str, ...]:
        """Those by which it chooses the rows that it judges."""
        return _names(part.get("name") for part in _mappings(self.arguments.get("row_condition")))

    @property
    def of_the_table(self) -> bool:
        """Whether it judges which columns there are, whatever they hold."""
        return self.type.startswith("expect_table_column")

    @property
    def of_gaps(self) -> bool:
        """Whether it is about columns that are not there, or hold nothing."""
        return self.of_the_table or self.type == "expect_column_to_exist" or "null" in self.type

    def built(self) -> Any:
        """As Great Expectations has it. Raises `ValueError` where it knows no such expectation, or not so."""
        from great_expectations.expectations.expectation_configuration import ExpectationConfiguration

        severity: Any = self.severity  # a text is taken, and checked
        try:
            return ExpectationConfiguration(
                type=self.type,
                kwargs=dict(self.arguments),
                meta={"number": self.number},
                severity=severity,
                description=self.description or None,
            ).to_domain_obj()
        except Exception as error:  # of pydantic, or of Great Expectations' own many
            raise ValueError(f"{_named(self.number, self.type)}: {_shortened(str(error))}") from None


@dataclass(frozen=True)
class UserSuite:
    """A suite and the text that it was read from."""

    file: Path
    text: str
    expectations: tuple[Wanted, ...]

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()


def read_suite(file: Path) -> UserSuite:
    """The suite in a file. Raises `ValueError` saying what is wrong with it."""
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ValueError("there is no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"it cannot be read: {error}") from None
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"line {error.lineno}, column {error.colno}: not JSON: {error.msg}") from None
    listed = data.get("expectations") if isinstance(data, dict) else None
    if not isinstance(listed, list):
        raise ValueError("it is no suite: a mapping with a list of `expectations` is needed")
    if not listed:
        raise ValueError("it has no expectation")
    expectations = tuple(_wanted(number, entry) for number, entry in enumerate(listed, 1))
    for one in expectations:
        one.built()
    return UserSuite(file, text, expectations)


def _wanted(number: int, entry: Any) -> Wanted:
    if not isinstance(entry, dict) or not isinstance(entry.get("type"), str):
        raise ValueError(f"expectation {number}: `type` is missing, such as expect_column_values_to_not_be_null")
    kind, arguments = entry["type"], entry.get("kwargs") or {}
    if not isinstance(arguments, dict):
        raise ValueError(f"{_named(number, kind)}: `kwargs` must be a mapping")
    for problem in _problems(arguments):
        raise ValueError(f"{_named(number, kind)}: {problem}")
    return Wanted(
        number,
        kind,
        {name: value for name, value in arguments.items() if name not in _NOT_THEIRS},
        str(entry.get("severity") or "critical"),
        str(entry.get("description") or ""),
    )


def _problems(arguments: Mapping[str, Any]) -> Iterator[str]:
    if any("$PARAMETER" in part for part in _mappings(arguments)):
        yield "$PARAMETER: nothing gives suite parameters here; write the value itself"
    condition = arguments.get("row_condition")
    if condition is None:
        return
    # pandas evaluates a condition that is a text as an expression, which can call whatever Python has.
    if not isinstance(condition, dict) or any(part.get("type") == "pass_through" for part in _mappings(condition)):
        yield 'row_condition: a text can run code, and is refused; write it as Column("value.status") == "paid"'
    elif any("`" in str(part.get("name", "")) for part in _mappings(condition)):
        yield "row_condition: the name of a column cannot hold a backtick"


def _mappings(value: Any) -> Iterator[Mapping[str, Any]]:
    """Every mapping in a value, itself among them."""
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, list):
        for inner in value:
            yield from _mappings(inner)


def _names(found: Iterable[Any]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for name in found if isinstance(name, str)))


def _named(number: int, kind: str) -> str:
    return f"expectation {number} ({kind})"


def _shortened(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST else line[: _LONGEST - 3] + "..."
