"""Where the demo keeps its things: state in the checkout, downloads in the cache, sockets where they fit.

Only names folders and makes them; never deletes any.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

STATE_VARIABLE = "KAFKA_MIGRATION_STATE"

# sun_path holds 108 bytes on Linux and 104 elsewhere, with the closing zero and the name of the socket.
_LONGEST_SOCKET_FOLDER = 70


def checkout() -> Path:
    """The root of the checkout, the folder that holds `include/`."""
    return Path(__file__).resolve().parents[2]


def include_folder() -> Path:
    """The one folder that makes the project's packages importable."""
    return Path(__file__).resolve().parents[1]


def state_folder() -> Path:
    """All that a running demo writes; `KAFKA_MIGRATION_STATE` moves it elsewhere."""
    chosen = os.environ.get(STATE_VARIABLE)
    folder = Path(chosen).expanduser().resolve() if chosen else checkout() / ".demo"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def socket_folder(state: Path | None = None) -> Path:
    """A private folder for unix sockets whose path is short enough for the operating system.

    Inside the state folder where that is short; otherwise under the temporary folder, named from the
    state folder, so that every process of one demo finds the same.
    """
    state = state_folder() if state is None else state.resolve()
    inside = state / "sockets"
    if len(os.fsencode(inside)) <= _LONGEST_SOCKET_FOLDER:
        return _private(inside)
    digest = hashlib.sha256(os.fsencode(state)).hexdigest()[:12]
    return _private(Path(tempfile.gettempdir()) / f"kafka-migration-{os.getuid()}-{digest}")


def cache_folder() -> Path:
    """Downloads that every checkout of this user shares."""
    base = os.environ.get("XDG_CACHE_HOME")
    folder = (Path(base) if base else Path.home() / ".cache") / "kafka-migration"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _private(folder: Path) -> Path:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.lstat()
    if folder.is_symlink() or found.st_uid != os.getuid():
        raise PermissionError(f"{folder} belongs to somebody else; remove it, or set {STATE_VARIABLE} to a short path")
    folder.chmod(0o700)
    return folder
