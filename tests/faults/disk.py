"""A disk for evidence that is full on demand: a small file system of its own where this user may mount one.

Where it may not, a task's process is forbidden to write any file, which it meets as the same kind of error.
"""

from __future__ import annotations

import errno
import resource
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

_SIZE = "16m"
_FILLER = ".filler"
_BLOCK = b"\0" * 4096


class SmallDisk:
    """What lies under one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._filler = folder / _FILLER

    @contextmanager
    def mounted(self) -> Iterator[list[str]]:
        """For a while; tells what is done instead where mounting is not allowed."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self.unmount()
        refused = self._mount()
        try:
            yield [] if refused is None else [f"no disk of its own ({refused}): the tasks may write no file instead"]
        finally:
            self.unmount()

    def fill(self, writers: Sequence[int]) -> None:
        if not self._folder.is_mount():
            for pid in writers:
                resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, 0))
            return
        try:
            with self._filler.open("wb", buffering=0) as file:
                while True:
                    file.write(_BLOCK)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise

    def make_room(self) -> None:
        self._filler.unlink(missing_ok=True)

    def unmount(self) -> None:
        """Also what a killed harness has left. What was written there is kept in the folder below."""
        if not self._folder.is_mount():
            return
        self.make_room()
        kept = self._folder.with_name(f"{self._folder.name}.kept")
        shutil.copytree(self._folder, kept, dirs_exist_ok=True)
        subprocess.run(["umount", "--lazy", str(self._folder)], check=True, capture_output=True)
        shutil.copytree(kept, self._folder, dirs_exist_ok=True)
        shutil.rmtree(kept)

    def _mount(self) -> str | None:
        """Why it was refused, or None."""
        command = ["mount", "-t", "tmpfs", "-o", f"size={_SIZE}", "tmpfs", str(self._folder)]
        with suppress(FileNotFoundError):
            done = subprocess.run(command, check=False, capture_output=True, text=True)
            return None if done.returncode == 0 else done.stderr.strip()
        return "no mount command"
