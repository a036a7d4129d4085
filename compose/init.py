"""What has to be there before Airflow starts: the administrator's password, and the database's tables.

Warns of a secret that is none. Starts nothing else and can be run again.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path

_PASSWORDS = ("AIRFLOW_ADMIN_PASSWORD", "POSTGRES_PASSWORD", "REDIS_PASSWORD")
_WELL_KNOWN = {"admin", "airflow", "postgres", "redis", "password", "changeme", "change-me", "secret", "kafka"}
_SHORTEST = 12


def weak(environment: Mapping[str, str]) -> list[str]:
    """The names of the passwords that anyone would guess."""
    values = {name: environment.get(name, "") for name in _PASSWORDS}
    return [name for name, value in values.items() if len(value) < _SHORTEST or value.lower() in _WELL_KNOWN]


def warning(names: list[str]) -> str:
    line = "!" * 78
    return (
        f"{line}\nWARNING: {', '.join(names)} in .env.compose can be guessed: well known, or shorter than {_SHORTEST}"
        f" characters.\nWhoever reaches this Airflow moves your services. Empty the line in .env.compose, run\n"
        f"`make compose-down` and `make compose-up`: a random one is made. The database keeps the one it was made\n"
        f"with: for POSTGRES_PASSWORD remove its volume in between, and with it all that this Airflow knows:\n"
        f"docker volume rm kafka-migration_database\n{line}"
    )


def write_password(file: Path, password: str) -> None:
    part = file.with_suffix(".part")
    part.unlink(missing_ok=True)
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as output:
        json.dump({"admin": password}, output)
    part.replace(file)


if __name__ == "__main__":
    names = weak(os.environ)
    if names:
        print(warning(names), file=sys.stderr, flush=True)
    passwords = os.environ["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE"]
    write_password(Path(passwords), os.environ["AIRFLOW_ADMIN_PASSWORD"])
    os.execvp("airflow", ["airflow", "db", "migrate"])
