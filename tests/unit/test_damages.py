"""docs/verification.md states what each rule sees and what it cannot, and it is what the tests on brokers look at."""

from __future__ import annotations

import re
from pathlib import Path

from tests.integration.damages import DAMAGES, Copy, Rule, origin, table

PAGE = Path(__file__).resolve().parents[2] / "docs/verification.md"


def test_the_table_of_the_docs_is_what_is_tested() -> None:
    page = PAGE.read_text(encoding="utf-8")
    [documented] = re.findall(r"^\| damage to the copy .*\n(?:\|.*\n)+", page, re.MULTILINE)
    assert documented.splitlines() == table()


def test_whatever_a_rule_does_not_see_has_its_reason() -> None:
    for damage in DAMAGES[1:]:
        assert bool(damage.why) is any(damage.verdict(rule) == "PASS" for rule in Rule) or "topic's id" in damage.why


def test_every_damage_changes_something_and_says_what_may_be_named() -> None:
    for equal in (True, False):
        for keyless in (True, False):
            for damage in DAMAGES[1:]:
                if not keyless and not damage.latest:
                    continue
                copy, good = (Copy.of(origin(keyless), equal) for _ in range(2))
                damage.do(copy)
                assert copy != good, damage.name
                assert copy.partitions == good.partitions or copy.touched, damage.name
