"""`make check-evidence DIR=... [KEY=...]`: exits 0 when all evidence is as it was sealed, 1 if not, 2 for bad input."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from kafka_migration.errors import EvidenceError
from kafka_migration.evidence.check import Checked, bundles_below, check
from kafka_migration.evidence.signing import public_key

_USAGE = """\
make check-evidence DIR=FOLDER [KEY=FILE]

  DIR  the evidence of a run, or a folder above the evidence of several
  KEY  a public key (PEM, Ed25519): the manifests must be signed with its private key
"""


def main(arguments: Sequence[str]) -> int:
    """`arguments`: `NAME=value`, as make passes them."""
    settings = dict(one.partition("=")[::2] for one in arguments)
    unknown = sorted(settings.keys() - {"DIR", "KEY"})
    if unknown or not settings.get("DIR"):
        return _refuse(f"{unknown[0]} is not known" if unknown else "DIR is needed: which evidence?")
    folder = Path(settings["DIR"]).expanduser()
    if not folder.is_dir():
        return _refuse(f"{folder} is no folder")
    try:
        key = _key(settings.get("KEY", ""))
    except (OSError, EvidenceError) as error:
        return _refuse(f"KEY: {settings['KEY']} {getattr(error, 'strerror', None) or error}")
    bundles = bundles_below(folder)
    if not bundles:
        return _refuse(f"there is no evidence in {folder}")
    whole = sum(_told(check(one, key)) for one in bundles)
    print(f"{whole} of {len(bundles)} are as they were sealed")
    return 0 if whole == len(bundles) else 1


def _key(file: str) -> Ed25519PublicKey | None:
    return public_key(Path(file).expanduser().read_bytes()) if file else None


def _told(checked: Checked) -> bool:
    """Print what was found; whether all is as it was."""
    manifest, evidence = checked.manifest, checked.evidence
    print(checked.folder)
    if evidence is not None:
        print(f"  {evidence.plan}.{evidence.purpose}, run {evidence.run_id}: verdict {evidence.verdict}")
    if manifest is not None:
        at = datetime.fromtimestamp(manifest.sealed_at, UTC).isoformat(timespec="seconds")
        size = sum(entry.bytes for entry in manifest.files.values())
        print(f"  {len(manifest.files)} files, {size:,} bytes, sealed at {at}")
    for line in checked.notes:
        print(f"  note: {line}")
    for line in checked.problems:
        print(f"  ALTERED: {line}")
    if not checked.problems:
        print("  every byte is as it was sealed")
    return not checked.problems


def _refuse(why: str) -> int:
    print(f"{why}\n\n{_USAGE}", file=sys.stderr, end="")
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
