"""Sealed evidence: a changed byte is found, whoever signed is known, and looking needs nothing but the folder."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pyarrow.parquet as pq
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.evidence_samples import FACTS, ROW, bundle_at, payload, write_run
from upath import UPath

from kafka_migration.errors import EvidenceError
from kafka_migration.evidence.__main__ import main
from kafka_migration.evidence.bundle import Bundle
from kafka_migration.evidence.check import check
from kafka_migration.evidence.manifest import MANIFEST, SIGNATURE
from kafka_migration.evidence.publish import publish
from kafka_migration.evidence.signing import private_key, public_key
from kafka_migration.report import StepReport

ENTRY = {
    "topic": "orders",
    "partition": 0,
    "copy_topic": "orders",
    **dict.fromkeys(("origin_start", "destination_start"), 0),
    **dict.fromkeys(("origin_end", "destination_end", "origin_visible", "destination_visible", "equal"), 7),
    **dict.fromkeys(("missing", "extra", "repeated", "altered", "misplaced"), 0),
    "by_key": False,
    "verdict": "PASS",
}


def pem(key: Ed25519PrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def public_pem(key: Ed25519PrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


@pytest.fixture
def sealed(tmp_path: Path) -> Path:
    bundle = write_run(bundle_at(tmp_path))
    bundle.write_step("compare_content", 1, payload("compare_content", report=StepReport(data={"content": [ENTRY]})))
    publish(bundle, FACTS)
    return cast(Path, bundle.folder)


def test_everything_that_was_written_is_sealed_and_whole(sealed: Path) -> None:
    checked = check(sealed)
    assert checked.problems == []
    assert checked.manifest is not None
    files = {str(file.relative_to(sealed)) for file in sealed.rglob("*") if file.is_file()}
    assert set(checked.manifest.files) == files - {MANIFEST}
    assert {"evidence.json", "evidence.html", "plan.yaml", "steps/preflight.1.json"} <= files
    assert any("not signed" in note for note in checked.notes)


def test_results_are_tables_with_a_row_a_partition(sealed: Path) -> None:
    [covered] = pq.read_table(sealed / "results" / "coverage.parquet").to_pylist()
    assert covered == ROW.to_json()
    assert pq.read_table(sealed / "results" / "content.parquet").to_pylist() == [ENTRY]
    assert pq.read_table(sealed / "results" / "findings.parquet").num_rows == 3


def test_a_result_that_a_run_does_not_have_has_no_file(tmp_path: Path) -> None:
    bundle = bundle_at(tmp_path)
    bundle.write_step("preflight", 1, payload("preflight"))
    publish(bundle, FACTS)
    assert not (cast(Path, bundle.folder) / "results").exists()


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_any_changed_byte_of_any_file_is_found_and_its_file_named(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    bundle = write_run(bundle_at(tmp_path_factory.mktemp("evidence")))
    publish(bundle, FACTS)
    folder = cast(Path, bundle.folder)
    file = data.draw(st.sampled_from(sorted(f for f in folder.rglob("*") if f.is_file())))
    content = bytearray(file.read_bytes())
    content[data.draw(st.integers(0, 2**20)) % len(content)] ^= 1 << data.draw(st.integers(0, 7))
    file.write_bytes(bytes(content))
    problems = check(folder).problems
    # A digit of the time at which it was sealed: only a signature tells that.
    if file.name != MANIFEST:
        assert any(problem.startswith(str(file.relative_to(folder))) for problem in problems), problems


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (lambda f: (f / "steps" / "preflight.1.json").unlink(), "steps/preflight.1.json is missing"),
        (lambda f: (f / "evidence.html").write_text("<p>PASS"), "evidence.html was changed"),
        (lambda f: (f / "other.txt").write_text(""), "other.txt was not there when the evidence was sealed"),
        (lambda f: (f / MANIFEST).unlink(), "manifest.json cannot be read"),
        (lambda f: (f / MANIFEST).write_text("{}"), "manifest.json is no manifest"),
    ],
)
def test_what_was_done_to_it_is_told(sealed: Path, harm: Callable[[Path], object], told: str) -> None:
    harm(sealed)
    assert any(problem.startswith(told) for problem in check(sealed).problems), check(sealed).problems


def test_what_a_task_wrote_later_is_told_and_is_no_part_of_it(sealed: Path) -> None:
    bundle_at(sealed.parents[2]).write_step("lift_holds", 1, payload("lift_holds"))
    checked = check(sealed)
    assert checked.problems == []
    assert any("steps/lift_holds.1.json was written after" in note for note in checked.notes)


def test_evidence_that_was_sealed_anew_by_somebody_else_is_told_by_the_signature(tmp_path: Path) -> None:
    key, other = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    bundle = write_run(bundle_at(tmp_path))
    publish(bundle, FACTS, key)
    folder = cast(Path, bundle.folder)
    assert check(folder, key.public_key()).problems == []
    assert check(folder, other.public_key()).problems == ["manifest.json is not what the given key has signed"]
    publish(bundle, FACTS)  # the files and their manifest, but not the signature
    manifest = folder / MANIFEST
    manifest.write_text(manifest.read_text().replace(f'"sealed_at":{FACTS.ended_at}', '"sealed_at":1.0'))
    manifest.write_text(manifest.read_text().replace(f'"sealed_at": {FACTS.ended_at}', '"sealed_at": 1.0'))
    assert check(folder, key.public_key()).problems == ["manifest.json is not what the given key has signed"]
    (folder / SIGNATURE).unlink()
    assert check(folder, key.public_key()).problems == ["manifest.sig is not there: the manifest is not signed"]
    (folder / SIGNATURE).write_text("no base64!")
    assert check(folder, key.public_key()).problems == ["manifest.json is not what the given key has signed"]


def test_keys_are_ed25519_and_never_shown() -> None:
    key = Ed25519PrivateKey.generate()
    assert public_key(public_pem(key)).public_bytes_raw() == key.public_key().public_bytes_raw()
    assert public_key(pem(key).encode()).public_bytes_raw() == key.public_key().public_bytes_raw()
    assert private_key(pem(key)).private_bytes_raw() == key.private_bytes_raw()
    rsa = generate_private_key(65537, 2048).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    for text in ("hunter2-hunter2", "", rsa):
        with pytest.raises(EvidenceError) as refused:
            private_key(text)
        assert "hunter2" not in str(refused.value)
        assert "openssl genpkey -algorithm ed25519" in str(refused.value)


def test_object_storage_is_sealed_as_well() -> None:
    bundle = write_run(bundle_at(UPath("memory://sealed/root")))
    publish(bundle, FACTS)
    text = (bundle.folder / MANIFEST).read_bytes().decode()
    assert all(name in text for name in ("evidence.json", "steps/coverage.1.json", "results/findings.parquet"))


def test_command_tells_of_every_bundle_below_and_its_exit_code_is_the_answer(
    sealed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = write_run(Bundle(tmp_path, "orders", "rollback", "manual__2"))
    publish(other, FACTS)
    assert main([f"DIR={tmp_path}"]) == 0
    assert "2 of 2 are as they were sealed" in capsys.readouterr().out
    (sealed / "plan.yaml").write_text("plan: other")
    assert main([f"DIR={tmp_path}"]) == 1
    told = capsys.readouterr().out
    assert "ALTERED: plan.yaml was changed" in told
    assert "1 of 2 are as they were sealed" in told
    assert main([f"DIR={other.folder}"]) == 0


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "DIR is needed"),
        (["DIR="], "DIR is needed"),
        (["DIR=/nowhere"], "/nowhere is no folder"),
        (["DIR={empty}"], "there is no evidence in"),
        (["DIR={empty}", "KEY=/nowhere"], "KEY: /nowhere No such file"),
        (["DIR={empty}", "KEY={file}"], "is no private key in PEM"),
        (["DIR={empty}", "WHAT=1"], "WHAT is not known"),
    ],
)
def test_bad_input_is_told_with_what_is_meant(
    arguments: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("no key")
    assert main([one.format(empty=tmp_path / "empty", file=tmp_path / "file") for one in arguments]) == 2
    error = capsys.readouterr().err
    assert told in error
    assert "make check-evidence DIR=FOLDER" in error


def test_looking_needs_neither_airflow_nor_a_kafka_client(sealed: Path) -> None:
    code = (
        "import sys; from kafka_migration.evidence.__main__ import main; code = main(sys.argv[1:]);"
        "print(sorted({'airflow', 'confluent_kafka', 'kafka', 'pyarrow'} & set(sys.modules))); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code, f"DIR={sealed}"], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "[]"), done.stderr
