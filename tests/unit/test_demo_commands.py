"""`make demo` refuses what it cannot do, at once, and its last line is the verdict whatever happens."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from demo.verdict import Outcome, Tally, Verdict, judge, unknown

ROOT = Path(__file__).parents[2]
NOTHING = "verdict INCONCLUSIVE produced=0 lost=0 repeated=0 out_of_order=0"


def make(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    plain = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    return subprocess.run(
        ["make", *arguments],
        cwd=ROOT,
        env={**plain, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    ("setting", "allowed"),
    [
        ("SCHEME=producers_frist", "SCHEME=producers_first, SCHEME=producers_later"),
        ("ROLLBACK=later", "ROLLBACK=after_producers, ROLLBACK=after_consumers"),
        ("DAMAGE=yes", "DAMAGE=1"),
        ("BROKERS=2", "BROKERS=3"),
        ("SECURE=it's", "SECURE=1"),
    ],
)
def test_unknown_value_is_refused_with_the_allowed_ones(setting: str, allowed: str) -> None:
    done = make("demo", setting)

    assert done.returncode == 2
    assert f"{setting} is unknown. Allowed: {allowed}" in done.stdout
    assert done.stdout.splitlines()[-1] == f"{NOTHING} reason=unknown_value"


@pytest.mark.parametrize(
    "setting",
    ["SCHEME=producers_later", "SCHEME=mirror_first", "SCHEME=disaster_recovery", "ROLLBACK=after_producers",
     "ROLLBACK=after_consumers", "DAMAGE=1", "BROKERS=3", "SECURE=1"],
)  # fmt: skip
def test_value_whose_part_does_not_exist_is_refused_with_not_yet(setting: str) -> None:
    done = make("demo", setting)

    assert done.returncode == 2
    assert f"{setting}: not yet." in done.stdout
    assert done.stdout.splitlines()[-1] == f"{NOTHING} reason=not_yet"


def test_unknown_setting_is_not_ignored() -> None:
    done = make("demo", "SCHEMA=producers_first")

    assert done.returncode == 2
    assert "SCHEMA cannot be set" in done.stdout
    assert done.stdout.splitlines()[-1] == f"{NOTHING} reason=unknown_setting"


def test_setting_from_the_environment_counts() -> None:
    done = make("demo", SCHEME="nonsense")

    assert done.returncode == 2
    assert done.stdout.splitlines()[-1] == f"{NOTHING} reason=unknown_value"


def test_missing_python_is_named_and_still_ends_with_the_verdict() -> None:
    done = make("demo", "PYTHON=/nowhere/python3")

    assert done.returncode == 2
    assert "No Python 3.11 or newer" in done.stderr
    assert done.stdout.splitlines()[-1] == f"{NOTHING} reason=no_python"


WHOLE = Tally(produced=100)


def test_only_a_passed_gate_with_clean_counts_and_every_group_moved_is_a_pass() -> None:
    verdict = judge(run_state="success", gate="PASS", tally=WHOLE, not_moved=[])

    assert verdict.exit_code == 0
    assert verdict.line == "verdict PASS produced=100 lost=0 repeated=0 out_of_order=0"


@pytest.mark.parametrize(
    ("verdict", "outcome", "end"),
    [
        (judge(run_state="failed", gate="PASS", tally=WHOLE, not_moved=[]), Outcome.FAIL, "run_failed_gate_PASS"),
        (judge(run_state="failed", gate=None, tally=WHOLE, not_moved=[]), Outcome.FAIL, "run_failed_gate_missing"),
        (judge(run_state="success", gate="FAIL", tally=WHOLE, not_moved=[]), Outcome.FAIL, "run_success_gate_FAIL"),
        (judge(run_state="success", gate=None, tally=WHOLE, not_moved=[]), Outcome.INCONCLUSIVE, "no_evidence"),
        (
            judge(run_state="failed", gate="INCONCLUSIVE", tally=WHOLE, not_moved=[]),
            Outcome.INCONCLUSIVE,
            "run_failed_gate_INCONCLUSIVE",
        ),
        (
            judge(run_state="success", gate="PASS", tally=Tally(), not_moved=[]),
            Outcome.INCONCLUSIVE,
            "nothing_produced",
        ),
        (
            judge(run_state="success", gate="PASS", tally=WHOLE, not_moved=["audit", "billing"]),
            Outcome.FAIL,
            "not_on_target:audit,billing",
        ),
        (unknown("interrupted"), Outcome.INCONCLUSIVE, "interrupted"),
    ],
)
def test_whatever_is_missing_is_never_a_pass_and_has_a_reason(verdict: Verdict, outcome: Outcome, end: str) -> None:
    assert verdict.outcome is outcome
    assert verdict.exit_code != 0
    assert verdict.line.endswith(f" reason={end}")


@pytest.mark.parametrize("fault", ["lost", "repeated", "out_of_order"])
def test_one_faulty_message_is_a_fail_that_names_it_though_the_gate_passed(fault: str) -> None:
    tally = Tally(produced=100, first=f"orders/3@42:{fault}", **{fault: 1})
    verdict = judge(run_state="success", gate="PASS", tally=tally, not_moved=[])

    assert verdict.outcome is Outcome.FAIL
    assert verdict.line.endswith(f" first=orders/3@42:{fault}")
