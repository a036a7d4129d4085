"""`python environment.py FILE`: the env file of docker-compose.yaml, its empty secrets filled with random ones.

Made from `.env.compose.example` where it is not there. Mode 600; what is set stays, and is warned of where anyone would
guess it: the container `init` does so too, which nobody sees who starts in the background. Standard library alone.
"""

from __future__ import annotations

import base64
import os
import re
import secrets
import sys
from pathlib import Path

import init

_EXAMPLE = Path(__file__).resolve().parents[1] / ".env.compose.example"
_SECRET = re.compile(r"^([A-Z_]+_(?:PASSWORD|SECRET|KEY))=[ \t]*$", re.MULTILINE)


def filled(content: str) -> str:
    """The content with a random value for each secret that has none."""
    return _SECRET.sub(lambda match: f"{match[1]}={_random(match[1])}", content)


def write(file: Path) -> bool:
    """Whether anything had to be written."""
    there = file.exists()
    before = (file if there else _EXAMPLE).read_text(encoding="utf-8")
    after = filled(before)
    if there:
        file.chmod(0o600)
        if after == before:
            return False
    part = file.with_name(file.name + ".part")
    part.unlink(missing_ok=True)
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as output:
        output.write(after)
    part.replace(file)
    return True


def _random(name: str) -> str:
    """Of letters that stand in an address as they are."""
    if name.endswith("FERNET_KEY"):
        return base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()
    return secrets.token_urlsafe(32)


def main(name: str) -> str | None:
    """What keeps the file from being made; None: it is there."""
    file = Path(name)
    try:
        if write(file):
            print(f"{name} holds new random secrets; only you may read it.")
        lines = (line.partition("=") for line in file.read_text(encoding="utf-8").splitlines())
    except OSError as error:
        return f"{name} cannot be made or read: {error.strerror or error} ({error.filename})"
    weak = init.weak({key: value for key, _, value in lines})
    if weak:
        print(init.warning(weak), file=sys.stderr)
    return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
