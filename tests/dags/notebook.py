"""A notifier of the tests' own: it writes down what it is told, a line of JSON each, in the file that `NOTEBOOK` names.

The live stage has a copy of this file as a module of its Airflow, so it imports nothing of the tests.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

from airflow.sdk.bases.notifier import BaseNotifier

VARIABLE = "NOTEBOOK"


class Notebook(BaseNotifier):
    """Rendered as every notifier is: `said` is a template over Airflow's own context and what is added to it."""

    template_fields = ("said",)

    def __init__(self, said: str = "{{ ti.run_id }}: {{ kafka_migration.subject }}") -> None:
        super().__init__()
        self.said = said

    def notify(self, context: Any) -> None:
        line = json.dumps({**asdict(context["kafka_migration"]), "said": self.said})
        with Path(os.environ[VARIABLE]).open("a", encoding="utf-8") as book:
            book.write(f"{line}\n")


class Broken(BaseNotifier):
    """Cannot reach anybody."""

    def notify(self, context: Any) -> None:
        raise ConnectionError("https://hooks.example.org/hunter2 does not answer")


class Hanging(BaseNotifier):
    """Never comes back by itself."""

    def notify(self, context: Any) -> None:
        import time

        time.sleep(600)


class Unready(BaseNotifier):
    """Has nothing that a task can call."""


notebook = Notebook()
several = [Notebook("first"), Notebook("second")]
text = "nothing that tells anybody"


def made() -> list[BaseNotifier]:
    return [Notebook("made")]


def unmade() -> BaseNotifier:
    raise RuntimeError("the token is hunter2")
