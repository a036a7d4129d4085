"""The files of a run's evidence: whole or not there, for the owner only, and never with a secret in them."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.evidence_samples import BEGAN, bundle_at, payload
from upath import UPath

from kafka_migration.errors import EvidenceError
from kafka_migration.evidence.bundle import folder_name, run_id_of
from kafka_migration.report import Change, StepReport


def test_every_attempt_is_kept_and_the_last_one_counts(tmp_path: Path) -> None:
    bundle = bundle_at(tmp_path)
    for attempt in (10, 2, 9):
        bundle.write_step("seed", attempt, payload("seed", attempt, state="failed", error=f"attempt {attempt}"))
    bundle.write_step("preflight", 1, payload("preflight", started_at=BEGAN))
    assert [(r.task_id, r.attempt) for r in bundle.attempts()] == [
        ("preflight", 1),
        ("seed", 2),
        ("seed", 9),
        ("seed", 10),
    ]
    assert [(r.task_id, r.error) for r in bundle.steps()] == [("preflight", None), ("seed", "attempt 10")]


def test_a_machine_whose_clock_is_behind_does_not_make_an_old_attempt_the_last(tmp_path: Path) -> None:
    bundle = bundle_at(tmp_path)
    bundle.write_step("seed", 1, payload("seed", 1, state="failed", started_at=BEGAN + 100, ended_at=BEGAN + 101))
    bundle.write_step("seed", 2, payload("seed", 2, started_at=BEGAN + 50, ended_at=BEGAN + 51))
    assert [(r.attempt, r.state) for r in bundle.steps()] == [(2, "success")]


def test_what_a_waiting_attempt_wrote_is_replaced_when_it_ends(tmp_path: Path) -> None:
    bundle = bundle_at(tmp_path)
    bundle.write_step("billing.drained", 1, payload("billing.drained", state="waiting", ended_at=None))
    bundle.write_step("billing.drained", 1, payload("billing.drained"))
    assert [r.state for r in bundle.attempts()] == ["success"]


def test_mapped_instances_of_one_task_do_not_overwrite_each_other(tmp_path: Path) -> None:
    bundle = bundle_at(tmp_path)
    for index in range(3):
        bundle.write_step("create", 1, payload("create", map_index=index))
    assert sorted(r.map_index for r in bundle.steps()) == [0, 1, 2]


def test_a_run_without_any_step_has_none(tmp_path: Path) -> None:
    assert bundle_at(tmp_path).steps() == []


@pytest.mark.parametrize("root", ["plain", "object storage"])
def test_local_evidence_is_for_its_owner_only(tmp_path: Path, root: str) -> None:
    place = tmp_path / "evidence"
    bundle = bundle_at(place if root == "plain" else UPath(f"file://{place}"))
    old = os.umask(0)
    try:
        bundle.write_step("seed", 1, payload("seed"))
        bundle.write_text("evidence.html", "<p>")
        documents = bundle.local_folder("data_docs")
    finally:
        os.umask(old)
    assert documents is not None
    everything = [place, *place.rglob("*")]
    assert {path.stat().st_mode & 0o777 for path in everything if path.is_dir()} == {0o700}
    files = [path for path in everything if path.is_file()]
    assert {path.name for path in files} == {"seed.1.json", "evidence.html"}
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}


def test_object_storage_holds_the_same_files() -> None:
    root = UPath("memory://evidence-test/root")
    bundle = bundle_at(root)
    assert bundle.attempts() == []
    bundle.write_step("seed", 1, payload("seed"))
    bundle.write_json("evidence.json", {"schema_version": 1})
    again = bundle_at(root)
    assert [r.task_id for r in again.steps()] == ["seed"]
    assert json.loads((again.folder / "evidence.json").read_text(encoding="utf-8")) == {"schema_version": 1}
    assert again.local_folder("data_docs") is None


@given(st.text(min_size=1), st.text(min_size=1))
def test_a_run_id_comes_back_from_its_folder_name_and_no_two_share_one(one: str, other: str) -> None:
    try:
        one.encode(), other.encode()
    except UnicodeEncodeError:
        return
    assert run_id_of(folder_name(one)) == one
    assert (folder_name(one) == folder_name(other)) is (one == other)
    assert re.fullmatch(r"[A-Za-z0-9._~-]+", folder_name(one))
    assert not folder_name(one).startswith(".")


def test_a_process_killed_while_it_writes_leaves_whole_files_only(tmp_path: Path) -> None:
    code = """
import sys
from pathlib import Path
from kafka_migration.report import StepReport
from tests.unit.evidence_samples import bundle_at, payload
bundle = bundle_at(Path(sys.argv[1]))
while True:
    for attempt in range(1, 4):
        bundle.write_step("seed", attempt, payload("seed", attempt, report=StepReport(notes=["x" * 1000] * 500)))
        print("written", flush=True)
"""
    writer = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE)
    try:
        assert writer.stdout is not None
        for _ in range(4):
            assert writer.stdout.readline() == b"written\n"
    finally:
        writer.send_signal(signal.SIGKILL)
        writer.wait(timeout=10)
        writer.stdout.close()
    assert [len(r.report.notes) for r in bundle_at(tmp_path).attempts()] == [500, 500, 500]


def test_a_disk_that_takes_no_more_is_told_and_the_former_file_stays(tmp_path: Path) -> None:
    code = """
import resource, sys
from pathlib import Path
from kafka_migration.errors import EvidenceError
from kafka_migration.report import StepReport
from tests.unit.evidence_samples import bundle_at, payload
bundle = bundle_at(Path(sys.argv[1]))
bundle.write_step("seed", 1, payload("seed", report=StepReport("the former")))
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
    bundle.write_step("seed", 1, payload("seed", report=StepReport("x" * 100_000)))
except EvidenceError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=60, check=True
    )
    assert "cannot be written" in done.stdout
    assert "File too large" in done.stdout
    bundle = bundle_at(tmp_path)
    assert [r.report.summary for r in bundle.steps()] == ["the former"]
    assert len(list((tmp_path / "orders").rglob("*.*json*"))) == 1


def test_a_root_that_cannot_be_written_is_told_with_its_cause(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EvidenceError, match=r"cannot be written to .*seed\.1\.json: Not a directory"):
        bundle_at(tmp_path / "file" / "below" / "evidence").write_step("seed", 1, payload("seed"))


def test_a_file_that_is_no_step_is_named(tmp_path: Path) -> None:
    bundle = bundle_at(tmp_path)
    bundle.write_step("seed", 1, payload("seed"))
    bundle.write_json("steps.json", {})
    (tmp_path / "orders" / "migrate" / folder_name(bundle.run_id) / "steps" / "other.1.json").write_text("{}")
    with pytest.raises(EvidenceError, match=r"other\.1\.json is no step"):
        bundle.steps()


def test_what_is_no_step_or_no_json_is_refused_before_it_is_written(tmp_path: Path) -> None:
    bundle = bundle_at(tmp_path)
    with pytest.raises(EvidenceError, match="task seed reported what is no step"):
        bundle.write_step("seed", 1, payload("seed", state="fine"))
    with pytest.raises(EvidenceError, match="no JSON"):
        bundle.write_step("seed", 1, payload("seed", report=StepReport(data={"at": object()})))
    assert bundle.steps() == []


@pytest.mark.parametrize(
    "report",
    [
        pytest.param(StepReport("hunter2-hunter2"), id="as-it-is"),
        pytest.param(StepReport(changes=[Change("env", "", "PASSWORD=hunter2-hunter2;")]), id="inside"),
        pytest.param(StepReport(data={"deep": [{"list": ["hunter2-hunter2"]}]}), id="deep"),
        pytest.param(StepReport(data={"hunter2-hunter2": 1}), id="as-a-key"),
    ],
)
def test_no_secret_enters_a_file_nor_the_message_about_it(tmp_path: Path, report: StepReport) -> None:
    bundle = bundle_at(tmp_path, forbidden={"hunter2-hunter2", ""})
    with pytest.raises(EvidenceError, match="secret") as refused:
        bundle.write_step("seed", 1, payload("seed", report=report))
    assert "hunter2" not in str(refused.value)
    assert bundle.steps() == []
    with pytest.raises(EvidenceError, match="secret"):
        bundle.write_text("evidence.html", "<b>hunter2-hunter2</b>")


def test_a_short_secret_is_refused_as_it_is_but_does_not_forbid_every_word_with_it(tmp_path: Path) -> None:
    bundle = bundle_at(tmp_path, forbidden={"ship"})
    bundle.write_step("shipping.drained", 1, payload("shipping.drained"))
    with pytest.raises(EvidenceError, match="secret"):
        bundle.write_step("seed", 1, payload("seed", report=StepReport("ship")))
