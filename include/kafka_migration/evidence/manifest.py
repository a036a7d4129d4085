"""The manifest: the SHA-256 of every file of a bundle, by which a changed byte is found. Optionally signed.

It is written last. What a task writes after that (the lifting of holds) is no part of it, and says so by not being in
it; whatever is in it was there when the verdict was given.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Literal

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import Field

from kafka_migration.errors import EvidenceError
from kafka_migration.evidence.bundle import Bundle, Folder
from kafka_migration.evidence.model import Part
from kafka_migration.evidence.signing import sign

MANIFEST = "manifest.json"
SIGNATURE = "manifest.sig"


class Entry(Part):
    """One file as it was."""

    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    bytes: int = Field(ge=0)


class Manifest(Part):
    """Every file of one run's evidence but this one and its signature, by its path in the bundle."""

    schema_version: Literal[1] = 1
    plan: str
    purpose: str
    run_id: str
    sealed_at: float
    files: dict[str, Entry]


def seal(bundle: Bundle, now: float, key: Ed25519PrivateKey | None = None) -> Manifest:
    """Write the manifest of what the bundle holds now; with a key its signature too. Raises `EvidenceError`."""
    try:
        files = {path: entry_of(file.read_bytes()) for path, file in files_of(bundle.folder)}
    except OSError as error:
        raise EvidenceError(f"the evidence in {bundle} cannot be read to be sealed: {error}") from error
    manifest = Manifest(plan=bundle.plan, purpose=bundle.purpose, run_id=bundle.run_id, sealed_at=now, files=files)
    text = manifest.model_dump_json(indent=1)
    bundle.write_text(MANIFEST, text)
    if key is not None:
        bundle.write_text(SIGNATURE, sign(key, text))
    return manifest


def entry_of(content: bytes) -> Entry:
    return Entry(sha256=hashlib.sha256(content).hexdigest(), bytes=len(content))


def files_of(folder: Folder) -> Iterator[tuple[str, Folder]]:
    """Every file below by its path, in their order, but the manifest, its signature, and files half written."""
    for file in sorted(_below(folder), key=lambda one: one[0]):
        if file[0] not in (MANIFEST, SIGNATURE):
            yield file


def _below(folder: Folder, prefix: str = "") -> Iterator[tuple[str, Folder]]:
    for child in folder.iterdir():
        path = f"{prefix}{child.name}"
        if child.is_dir():
            yield from _below(child, f"{path}/")
        elif not child.name.startswith("."):
            yield path, child
