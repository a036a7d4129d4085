"""The key that signs evidence: it lies in an Airflow connection and is never shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_kafka_migration.hooks import connection_parts
from kafka_migration.errors import EvidenceError, Refused

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from kafka_migration.plan.model import Plan


def signing_key(plan: Plan) -> Ed25519PrivateKey | None:
    """The plan's key; None where its evidence is not signed. Raises `Refused`."""
    from kafka_migration.evidence.signing import private_key

    connection = plan.evidence.sign
    if connection is None:
        return None
    try:
        return private_key(str(connection_parts(connection).get("password") or ""))
    except EvidenceError as error:
        raise Refused(f"evidence: sign: the password of Airflow connection {connection!r} {error}") from None
