"""What the host of a dedicated MirrorMaker must have: a Java that runs it, the archive that is meant, a place to write.

The host is this one: the controller reaches its supervisord by a socket. Changes nothing.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
from pathlib import Path

from kafka_migration.findings import Finding, Status

_OLDEST_JAVA = 17
_ANSWER_WITHIN = 30.0
_BLOCK = 1 << 20


def check_java(java: str) -> list[Finding]:
    """Whether that program is a Java that runs Kafka 4 (KIP-1013: 17 and newer)."""
    try:
        told = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=_ANSWER_WITHIN, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        return [_failed("java", f"{java} does not tell its version: {reason}", "a Java program", "correct mirror.java")]
    version = java_version(told.stderr + told.stdout)
    if version is not None and version >= _OLDEST_JAVA:
        return []
    seen = "tells no version" if version is None else f"is Java {version}"
    return [_failed("java", f"{java} {seen}", f"Java {_OLDEST_JAVA} or newer, as Kafka 4 needs", "install one")]


def java_version(told: str) -> int | None:
    """The feature number of what `java -version` says; Java 8 calls itself 1.8."""
    match = re.search(r'version "(\d+)(?:\.(\d+))?', told)
    if match is None:
        return None
    return int(match[2] or 0) if match[1] == "1" else int(match[1])


def check_archive(archive: str, sha512: str) -> list[Finding]:
    """Whether the archive that MirrorMaker was unpacked from is the one that is meant."""
    digest = hashlib.sha512()
    try:
        with open(archive, "rb") as file:
            while block := file.read(_BLOCK):
                digest.update(block)
    except OSError as error:
        return [
            _failed("archive", f"{archive} cannot be read: {error.strerror}", "the archive of Kafka", "put it there")
        ]
    if digest.hexdigest() == sha512.lower():
        return []
    return [
        _failed(
            "archive",
            f"{archive} has the SHA-512 {digest.hexdigest()[:16]}…",
            f"{sha512.lower()[:16]}…, as the plan says",
            "download it again and compare with the checksum that Kafka publishes; unpack it anew",
        )
    ]


def check_folder(file: Path) -> list[Finding]:
    """Whether the file can be put into its folder, by rename, from here."""
    if os.access(file.parent, os.W_OK | os.X_OK):
        return []
    told = "is not there" if not file.parent.is_dir() else "cannot be written from here"
    return [
        _failed(
            "properties_file",
            f"the folder of {file} {told}",
            "a folder that this user may write",
            "make it, for the user that MirrorMaker and Airflow run as",
        )
    ]


def _failed(what: str, seen: str, expected: str, advice: str) -> Finding:
    return Finding(f"mirror-host/{what}", Status.FAIL, seen, expected, advice)
