"""`make demo` refuses what it cannot do, at once, and its last line is the verdict whatever happens."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from demo.broker_loss import STEPS
from demo.settings import KILL_IN, Settings, read

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
        ("KILL_IN=lunch", "KILL_IN=drain, KILL_IN=create_topics"),
        ("SECURE=it's", "SECURE=1"),
        ("DEMO_PATIENCE=much", "DEMO_PATIENCE=3"),
    ],
)
def test_unknown_value_is_refused_with_the_allowed_ones(setting: str, allowed: str) -> None:
    done = make("demo", setting)

    assert done.returncode == 2
    assert f"{setting} is unknown. Allowed: {allowed}" in done.stdout
    assert done.stdout.splitlines()[-1] == f"{NOTHING} reason=unknown_value"


@pytest.mark.parametrize(
    "setting",
    ["SECURE=1"],
)
def test_value_whose_part_does_not_exist_is_refused_with_not_yet(setting: str) -> None:
    done = make("demo", setting)

    assert done.returncode == 2
    assert f"{setting}: not yet." in done.stdout
    assert done.stdout.splitlines()[-1] == f"{NOTHING} reason=not_yet"


def test_what_was_set_is_what_the_demo_is_told() -> None:
    unset = ["SCHEME=", "ROLLBACK=", "DAMAGE="]
    assert read(unset) == Settings("producers_first", None)
    assert read([*unset, "SCHEME=producers_later"]) == Settings("producers_later", None)
    assert read([*unset, "SCHEME=mirror_first"]) == Settings("mirror_first", None)
    assert read(["SCHEME=", "ROLLBACK=", "DAMAGE=1"]) == Settings("mirror_first", None, damage=True)
    assert read([*unset, "SCHEME=disaster_recovery"]) == Settings("disaster_recovery", None)
    assert read([*unset, "ROLLBACK=after_consumers"]) == Settings("producers_first", "after_consumers")


@pytest.mark.parametrize("other", ["SCHEME=producers_first", "ROLLBACK=after_producers"])
def test_damage_goes_with_one_scheme_and_no_way_back(other: str) -> None:
    done = make("demo", "DAMAGE=1", other)

    assert done.returncode == 2
    assert "DAMAGE=1 goes with SCHEME=mirror_first alone" in done.stdout
    assert done.stdout.splitlines()[-1] == f"{NOTHING} reason=unknown_value"


@pytest.mark.parametrize("other", ["DAMAGE=1", "ROLLBACK=after_producers", "ROLLBACK=after_consumers"])
def test_what_goes_with_a_migration_is_refused_where_a_cluster_is_lost(other: str) -> None:
    done = make("demo", "SCHEME=disaster_recovery", other)

    assert done.returncode == 2
    assert f"{other.partition('=')[0]} goes with a migration. SCHEME=disaster_recovery migrates nothing" in done.stdout
    assert done.stdout.splitlines()[-1] == f"{NOTHING} reason=unknown_value"


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (["KILL_IN=drain"], "KILL_IN goes with BROKERS=3"),
        (["BROKERS=3", "KILL_IN=mirror"], "KILL_IN=mirror is no step of SCHEME=producers_first. Its steps: drain, "),
        (["BROKERS=3", "DAMAGE=1"], "does not go with DAMAGE=1"),
        (["BROKERS=3", "SCHEME=disaster_recovery"], "does not go with SCHEME=disaster_recovery"),
    ],
)
def test_broker_that_cannot_be_killed_there_is_refused(settings: list[str], told: str) -> None:
    done = make("demo", *settings)

    assert done.returncode == 2
    assert told in done.stdout
    assert done.stdout.splitlines()[-1] == f"{NOTHING} reason=unknown_value"


def test_each_scheme_has_a_step_in_which_a_broker_is_killed_where_none_is_named() -> None:
    for scheme, steps in KILL_IN.items():
        assert read([f"SCHEME={scheme}", "BROKERS=3"]).kill_in == steps[0]
        assert set(steps) <= STEPS.keys()
    assert read(["BROKERS=3", "KILL_IN=create_topics", "ROLLBACK=after_consumers"]) == Settings(
        rollback="after_consumers", brokers=3, kill_in="create_topics"
    )
    assert read([]).kill_in is None


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
