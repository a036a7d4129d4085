"""What a service of the shop is told by its environment, read once at its start."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Settings:
    """`servers` is the one that a migration changes."""

    service: str
    servers: str
    witness: Path

    @classmethod
    def from_environment(cls) -> Settings:
        return cls(
            service=required("SHOP_SERVICE"),
            servers=required("KAFKA_BOOTSTRAP_SERVERS"),
            witness=Path(required("SHOP_WITNESS")),
        )


def required(variable: str) -> str:
    value = os.environ.get(variable, "")
    if not value:
        raise SystemExit(f"{variable} is not set: name it in the env file of this service")
    return value
