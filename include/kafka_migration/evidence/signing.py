"""Signing a manifest with an Ed25519 key, and checking the signature: 64 bytes, written as base64 (RFC 8032)."""

from __future__ import annotations

import base64
import binascii

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from kafka_migration.errors import EvidenceError

_MAKE = "openssl genpkey -algorithm ed25519 makes one"


def private_key(pem: str) -> Ed25519PrivateKey:
    """The key in a PEM text without a passphrase. Raises `EvidenceError`, which never shows the text."""
    try:
        key = load_pem_private_key(pem.encode(), password=None)
    except (ValueError, TypeError):
        raise EvidenceError(f"is no private key in PEM without a passphrase: {_MAKE}") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise EvidenceError(f"is no Ed25519 key: {_MAKE}")
    return key


def public_key(pem: bytes) -> Ed25519PublicKey:
    """The key in a PEM text: a public one, or the public part of a private one. Raises `EvidenceError`."""
    try:
        key = load_pem_public_key(pem)
    except ValueError:
        return private_key(pem.decode(errors="replace")).public_key()
    if not isinstance(key, Ed25519PublicKey):
        raise EvidenceError(f"is no Ed25519 key: {_MAKE}")
    return key


def sign(key: Ed25519PrivateKey, text: str) -> str:
    return base64.b64encode(key.sign(text.encode())).decode() + "\n"


def is_signed_by(key: Ed25519PublicKey, text: bytes, signature: str) -> bool:
    try:
        key.verify(base64.b64decode(signature, validate=True), text)
    except (InvalidSignature, binascii.Error, ValueError):
        return False
    return True
