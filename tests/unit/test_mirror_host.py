"""What the host of a dedicated MirrorMaker is asked before it is started."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from demo.jars import java
from kafka_migration.findings import Status
from kafka_migration.mirror.host import check_archive, check_folder, check_java


def fake_java(folder: Path, told: str) -> str:
    program = folder / "java"
    program.write_text(f"#!/bin/sh\necho '{told}' >&2\n")
    program.chmod(0o755)
    return str(program)


def test_java_of_the_demo_passes() -> None:
    assert check_java(str(java())) == []


@pytest.mark.parametrize(
    ("told", "seen"),
    [
        ('openjdk version "11.0.22" 2024-01-16', "is Java 11"),
        ('java version "1.8.0_402"', "is Java 8"),
        ("busybox", "tells no version"),
    ],
)
def test_java_that_cannot_run_kafka_is_a_failure(tmp_path: Path, told: str, seen: str) -> None:
    [found] = check_java(fake_java(tmp_path, told))
    assert (found.id, found.status) == ("mirror-host/java", Status.FAIL)
    assert seen in found.seen


@pytest.mark.parametrize("told", ['openjdk version "17" 2021-09-14', 'openjdk version "25.0.1"'])
def test_java_that_is_new_enough_passes(tmp_path: Path, told: str) -> None:
    assert check_java(fake_java(tmp_path, told)) == []


def test_java_that_is_not_there_is_a_failure(tmp_path: Path) -> None:
    [found] = check_java(str(tmp_path / "java"))
    assert "No such file" in found.seen


def test_archive_is_known_by_its_checksum(tmp_path: Path) -> None:
    archive = tmp_path / "kafka.tgz"
    archive.write_bytes(b"kafka" * 1000)
    right = hashlib.sha512(archive.read_bytes()).hexdigest()
    assert check_archive(str(archive), right.upper()) == []
    archive.write_bytes(b"other" * 1000)
    [found] = check_archive(str(archive), right)
    assert (found.id, found.status) == ("mirror-host/archive", Status.FAIL)
    [found] = check_archive(str(tmp_path / "gone"), right)
    assert "cannot be read" in found.seen


def test_folder_of_the_properties_file_must_be_there(tmp_path: Path) -> None:
    assert check_folder(tmp_path / "mm.properties") == []
    [found] = check_folder(tmp_path / "nowhere" / "mm.properties")
    assert (found.id, found.status) == ("mirror-host/properties_file", Status.FAIL)
