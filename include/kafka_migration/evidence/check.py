"""Is a bundle what it was when it was sealed, and whole? It needs no Airflow and no Kafka, only the folder."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from pydantic import ValidationError

from kafka_migration.evidence.bundle import EVIDENCE_HTML, EVIDENCE_JSON, PLAN_FILE
from kafka_migration.evidence.manifest import MANIFEST, SIGNATURE, Manifest, entry_of, files_of
from kafka_migration.evidence.model import Evidence, StepRecord
from kafka_migration.evidence.signing import is_signed_by
from kafka_migration.plan.load import digest

_LATER = "steps/"
"""Where a task that ran after the evidence was sealed leaves its record."""


@dataclass
class Checked:
    """What was found. No `problems`: every file is as it was sealed, and the bundle is complete."""

    folder: Path
    manifest: Manifest | None = None
    evidence: Evidence | None = None
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def bundles_below(folder: Path) -> list[Path]:
    """The folder itself where it is a bundle, else all bundles in it."""
    if (folder / MANIFEST).exists() or (folder / EVIDENCE_JSON).exists():
        return [folder]
    return sorted({file.parent for file in folder.rglob(EVIDENCE_JSON)} | {f.parent for f in folder.rglob(MANIFEST)})


def check(folder: Path, key: Ed25519PublicKey | None = None) -> Checked:
    """Look at one bundle. `key`: whose signature its manifest must have."""
    checked = Checked(folder)
    problems = checked.problems
    try:
        text = (folder / MANIFEST).read_bytes()
        checked.manifest = manifest = Manifest.model_validate_json(text)
    except OSError as error:
        problems.append(f"{MANIFEST} cannot be read: {error.strerror}; without it nothing shows what was changed")
        return checked
    except ValidationError as error:
        problems.append(f"{MANIFEST} is no manifest: {_first(error)}")
        return checked
    problems += _signed(folder, text, key, checked.notes)
    problems += _files(folder, manifest, checked.notes)
    problems += _whole(folder, checked)
    return checked


def _signed(folder: Path, text: bytes, key: Ed25519PublicKey | None, notes: list[str]) -> Iterator[str]:
    try:
        signature = (folder / SIGNATURE).read_text(encoding="ascii").strip()
    except FileNotFoundError:
        if key is not None:
            yield f"{SIGNATURE} is not there: the manifest is not signed"
        else:
            notes.append("not signed: whoever can write the files can write the manifest anew")
        return
    except (OSError, UnicodeDecodeError):
        yield f"{SIGNATURE} cannot be read"
        return
    if key is None:
        notes.append("signed; the signature was not checked, since no public key was given")
    elif is_signed_by(key, text, signature):
        notes.append("signed by the given key")
    else:
        yield f"{MANIFEST} is not what the given key has signed"


def _files(folder: Path, manifest: Manifest, notes: list[str]) -> Iterator[str]:
    there = dict(files_of(folder))
    for path, sealed in manifest.files.items():
        file = there.pop(path, None)
        if file is None:
            yield f"{path} is missing"
            continue
        try:
            now = entry_of(file.read_bytes())
        except OSError as error:
            yield f"{path} cannot be read: {error.strerror}"
            continue
        if now != sealed:
            size = (
                f"{sealed.bytes:,} bytes" if now.bytes == sealed.bytes else f"{sealed.bytes:,}, now {now.bytes:,} bytes"
            )
            yield f"{path} was changed ({size})"
    for path in there:
        if path.startswith(_LATER) and path.endswith(".json"):
            notes.append(f"{path} was written after the evidence was sealed, and is no part of it")
        else:
            yield f"{path} was not there when the evidence was sealed"


def _whole(folder: Path, checked: Checked) -> Iterator[str]:
    """What belongs to every bundle is there, and says the same."""
    manifest = checked.manifest
    assert manifest is not None
    for name in (EVIDENCE_JSON, EVIDENCE_HTML, PLAN_FILE):
        if name not in manifest.files:
            yield f"{name} is no part of the sealed evidence"
    try:
        checked.evidence = evidence = Evidence.model_validate_json((folder / EVIDENCE_JSON).read_bytes())
    except OSError:
        return  # told above
    except ValidationError as error:
        yield f"{EVIDENCE_JSON} is no evidence of schema version 1: {_first(error)}"
        return
    about = (evidence.plan, evidence.purpose, evidence.run_id)
    if about != (manifest.plan, manifest.purpose, manifest.run_id):
        yield f"{EVIDENCE_JSON} is about {' '.join(about)}, the manifest about another run"
    if digest(evidence.plan_text) != evidence.plan_digest:
        yield f"{EVIDENCE_JSON}: the plan's text does not have the digest that is told of it"
    for path in manifest.files:
        if path.startswith(_LATER):
            try:
                StepRecord.model_validate_json((folder / path).read_bytes())
            except OSError:
                continue  # told above
            except ValidationError as error:
                yield f"{path} is no step of the evidence: {_first(error)}"


def _first(error: ValidationError) -> str:
    one = error.errors(include_url=False, include_input=False)[0]
    return f"{'.'.join(map(str, one['loc'])) or 'the file'}: {one['msg']}"
