"""Where the evidence of one run lies, and writing and reading it: `<root>/<plan>/<purpose>/<run>/`.

Each task writes only its own `steps/<task>.<attempt>.json`, so that no two ever write one file. The root may be a local
folder (files 0600, folders 0700, each file whole or not there) or any object storage path that behaves like one. It
judges nothing, and it refuses to write a secret that it was told of.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, Self, cast

from pydantic import ValidationError

from kafka_migration.errors import EvidenceError
from kafka_migration.evidence.model import StepRecord

EVIDENCE_JSON = "evidence.json"
EVIDENCE_HTML = "evidence.html"
PLAN_FILE = "plan.yaml"

_LONG_ENOUGH = 8  # a secret at least this long is looked for inside longer texts as well


class Folder(Protocol):
    """What is asked of a path: `pathlib.Path` and Airflow's `ObjectStoragePath` both have it."""

    @property
    def name(self) -> str: ...
    def __truediv__(self, key: str, /) -> Self: ...
    def mkdir(self, *, parents: bool, exist_ok: bool) -> None: ...
    def exists(self) -> bool: ...
    def is_dir(self) -> bool: ...
    def iterdir(self) -> Iterable[Self]: ...
    def read_bytes(self) -> bytes: ...
    def write_bytes(self, data: bytes) -> Any: ...
    def read_text(self, encoding: str) -> str: ...


class Bundle:
    """The files of one run. `forbidden`: the secrets that were in use, which no file may hold."""

    def __init__(
        self, root: Folder, plan: str, purpose: str, run_id: str, forbidden: Collection[str] = frozenset()
    ) -> None:
        self.plan, self.purpose, self.run_id = plan, purpose, run_id
        self._root: Folder = _as_local(root) or root
        self._forbidden = frozenset(forbidden) - {""}
        self.folder: Folder = self._root / plan / purpose / folder_name(run_id)

    def __str__(self) -> str:
        return str(self.folder)

    def local_folder(self, name: str) -> Path | None:
        """A subfolder, made, for what can only write to a local disk. None when the root is object storage."""
        folder = self.folder / name
        if not isinstance(folder, Path):
            return None
        self._make(folder)
        return folder

    def write_step(self, task_id: str, attempt: int, payload: Mapping[str, Any]) -> None:
        """Keep what one attempt of a task did. Writing it again replaces it. Raises `EvidenceError`."""
        try:
            record = StepRecord.model_validate(dict(payload))
        except ValidationError as error:
            raise EvidenceError(f"task {task_id} reported what is no step of the evidence: {error}") from None
        mapped = f"+{record.map_index}" if record.map_index >= 0 else ""
        self._write(("steps", f"{task_id}{mapped}.{attempt}.json"), dict(payload))

    def attempts(self) -> list[StepRecord]:
        """Every attempt of every task, in the order in which they began. Raises `EvidenceError`."""
        folder = self.folder / "steps"
        try:
            if not folder.exists():
                return []
            texts = {
                file.name: file.read_text(encoding="utf-8") for file in folder.iterdir() if file.name.endswith(".json")
            }
        except Exception as error:
            raise EvidenceError(f"the evidence in {folder} cannot be read: {error}") from error
        found = []
        for name, text in texts.items():
            try:
                found.append(StepRecord.model_validate_json(text))
            except ValidationError as error:
                raise EvidenceError(f"{folder}/{name} is no step of the evidence: {error}") from None
        return sorted(found, key=lambda r: (r.started_at, r.task_id, r.map_index, r.attempt))

    def steps(self) -> list[StepRecord]:
        """The last attempt of every task, in the order in which the tasks began."""
        return latest(self.attempts())

    def write_json(self, name: str, value: Mapping[str, Any]) -> None:
        """Raises `EvidenceError`."""
        self._write((name,), value)

    def write_text(self, name: str, text: str) -> None:
        """Raises `EvidenceError`."""
        self._write((name,), text)

    def write_bytes(self, folder: str, name: str, content: bytes) -> None:
        """Into a subfolder. What it holds has been written as text before. Raises `EvidenceError`."""
        self._put((folder, name), content)

    def leave(self, name: str, text: str) -> str:
        """Write a text that a step leaves for people, and tell where it lies. Raises `EvidenceError`.

        `name` may hold what a file's name may not, such as a group's id.
        """
        file = folder_name(name)
        self._write((file,), text)
        return str(self.folder / file)

    def _write(self, where: Sequence[str], value: Mapping[str, Any] | str) -> None:
        held = _secret_in(value, self._forbidden)
        path = "/".join((str(self.folder), *where))
        if held is not None:
            raise EvidenceError(
                f"{path} was not written: it would hold a secret of an Airflow connection"
                + (f", at {held}" if held else "")
                + ". Find what reported it, and change that secret if it was shown elsewhere."
            )
        try:
            text = value if isinstance(value, str) else json.dumps(value, indent=1, ensure_ascii=False)
        except (TypeError, ValueError) as error:
            raise EvidenceError(f"{path} was not written: it would hold what is no JSON: {error}") from None
        self._put(where, text.encode())

    def _put(self, where: Sequence[str], content: bytes) -> None:
        path = self.folder
        for part in where:
            path = path / part
        try:
            if isinstance(path, Path):
                self._make(path.parent)
                _write_whole(path, content)
            else:
                path.write_bytes(content)  # a put of an object is whole or nothing by itself
        except Exception as error:
            cause = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            raise EvidenceError(
                f"the evidence cannot be written to {path}: {cause}. Make room or give access there, then clear this"
                " task; what it did is observed again and not repeated."
            ) from error

    def _make(self, folder: Path) -> None:
        """The folder and what is missing above it: ours with access for the owner only."""
        root = cast(Path, self._root)
        root.parent.mkdir(parents=True, exist_ok=True)
        for part in [*reversed(folder.relative_to(root).parents), folder.relative_to(root)]:
            (root / part).mkdir(mode=0o700, exist_ok=True)


def latest(attempts: Iterable[StepRecord]) -> list[StepRecord]:
    """Of each task the last attempt, in the order in which the first ones began."""
    found: dict[tuple[str, int], StepRecord] = {}
    for record in attempts:
        key = (record.task_id, record.map_index)
        if key not in found or record.attempt >= found[key].attempt:
            found[key] = record
    return list(found.values())


def folder_name(run_id: str) -> str:
    """A run id as the name of a folder that every file system and URL takes as it is: `:` becomes `~3A`."""
    kept = re.sub(r"[^A-Za-z0-9._-]", lambda m: "".join(f"~{byte:02X}" for byte in m[0].encode()), run_id)
    return kept.replace(".", "~2E", 1) if kept.startswith(".") else kept


def run_id_of(name: str) -> str:
    """The way back of `folder_name`."""
    return re.sub(r"(?:~[0-9A-F]{2})+", lambda m: bytes.fromhex(m[0].replace("~", "")).decode(), name)


def _as_local(root: Folder) -> Path | None:
    if isinstance(root, Path):
        return root
    # Airflow's paths are no `pathlib.Path` even for the local disk, where only that can set modes and rename.
    return Path(getattr(root, "path")) if getattr(root, "protocol", None) in ("", "file", "local") else None  # noqa: B009


def _write_whole(path: Path, content: bytes) -> None:
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _secret_in(value: Any, forbidden: frozenset[str], at: str = "") -> str | None:
    """Where in the value a secret stands (empty: in the text itself), or None. The place never shows the secret."""
    if isinstance(value, str):
        return at if any(s == value or (len(s) >= _LONG_ENOUGH and s in value) for s in forbidden) else None
    if isinstance(value, Mapping):
        for key, item in value.items():
            if _secret_in(str(key), forbidden) is not None:
                return f"a key of {at}" if at else "a key"
            held = _secret_in(item, forbidden, f"{at}.{key}" if at else str(key))
            if held is not None:
                return held
    elif isinstance(value, list | tuple):
        for i, item in enumerate(value):
            held = _secret_in(item, forbidden, f"{at}[{i}]")
            if held is not None:
                return held
    return None
