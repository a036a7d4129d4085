"""Seconds in which Airflow's DAG processor reads 100 plans of all schemes, and what of them is Airflow's own.

As the processor does it, each file of `dags/` is parsed in a process of its own, forked from one that has imported
Airflow (`parsing_pre_import_modules`); the seconds of the files are added up. Told apart: importing this product, the
plan files read and checked, DAGs and their tasks made, and what Airflow then does to serialise them.
"""

from __future__ import annotations

import multiprocessing
import os
import re
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing.context import ForkContext
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.failed import BenchmarkFailed

PLANS = 100
_ROUNDS = 3
_CHECKOUT = Path(__file__).resolve().parents[1]
_DAGS = _CHECKOUT / "dags"
_CLOCKED = ("kafka_migration", "airflow_kafka_migration", "confluent_kafka")  # whose import belongs to the seconds
_SECONDS = ("imported", "plans", "made", "serialised")
_SHOPS = (
    _CHECKOUT / "include" / "plans" / "orders.yaml",
    *sorted((_CHECKOUT / "include" / "demo" / "plans").glob("*.yaml")),
)


@dataclass(frozen=True)
class Parsed:
    """One file of `dags/`: its seconds by what they went into, and the DAGs and tasks that it made.

    `made`: the file run, without reading the plans. Most of it is Airflow's making of its operators.
    """

    file: str
    imported: float
    plans: float
    made: float
    serialised: float
    dags: int
    tasks: int


def run(console: Console, scale: float = 1.0) -> None:
    plans = max(len(_SHOPS), int(PLANS * scale))
    console.print(_table(plans, measure(plans)))


def measure(plans: int, rounds: int = _ROUNDS, dags: Path = _DAGS) -> list[Parsed]:
    """Each file of `dags`, of each of its seconds the best of some rounds.

    Raises `BenchmarkFailed` where a file cannot be parsed, or where DAGs are missing.
    """
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:  # Airflow reads its settings once
        return pool.submit(_parse_all, plans, rounds, dags).result()


def _parse_all(plans: int, rounds: int, dags: Path) -> list[Parsed]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _write_plans(folder / "plans", plans)
        os.environ |= {
            "AIRFLOW_HOME": name,
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(_CHECKOUT / "plugins"),
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{name}/airflow.db",
            "KAFKA_MIGRATION_PLANS": str(folder / "plans"),
        }
        from airflow.dag_processing import processor  # noqa: F401

        if known := sorted(one for one in sys.modules if one.partition(".")[0] in _CLOCKED):
            raise BenchmarkFailed(f"loaded before the clock starts: {', '.join(known[:5])}")
        forking = multiprocessing.get_context("fork")
        found = []
        for file in sorted(dags.glob("*.py")):
            tries = [_forked(forking, lambda file=file: _parse(file)) for _ in range(rounds)]
            best = {name: min(getattr(one, name) for one in tries) for name in _SECONDS}
            found.append(replace(tries[0], **best))
    if not sum(one.dags for one in found) >= 3 * plans:
        raise BenchmarkFailed(f"{plans} plans have made {sum(one.dags for one in found)} DAGs only")
    return found


def _write_plans(folder: Path, count: int) -> None:
    """The plans of the demo's shop, every scheme in turn, each under a name of its own."""
    folder.mkdir()
    for number in range(count):
        text = _SHOPS[number % len(_SHOPS)].read_text(encoding="utf-8")
        name = f"orders-{number}"
        (folder / f"{name}.yaml").write_text(re.sub(r"(?m)^plan: .*$", f"plan: {name}", text), encoding="utf-8")


def _forked(context: ForkContext, deed: Callable[[], Parsed]) -> Parsed:
    """What a forked process makes of it. Raises `BenchmarkFailed` with that process's reason."""
    here, there = context.Pipe(duplex=False)

    def tell() -> None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # Airflow tells of every file
        try:
            there.send(deed())
        except BenchmarkFailed as error:
            there.send(error)
        except Exception as error:  # in words: not every exception can be pickled
            there.send(BenchmarkFailed(f"{type(error).__name__}: {error}"))

    process = context.Process(target=tell)
    process.start()
    there.close()
    try:
        told: Parsed | BenchmarkFailed = here.recv()
    except EOFError:
        process.join()
        told = BenchmarkFailed(f"the process that parsed it ended with exit code {process.exitcode}")
    process.join()
    if isinstance(told, BenchmarkFailed):
        raise told
    return told


def _parse(file: Path) -> Parsed:
    from airflow.dag_processing.dagbag import BundleDagBag
    from airflow.serialization.serialized_objects import DagSerialization, LazyDeserializedDAG

    began = time.monotonic()
    import airflow_kafka_migration.parts as parts

    imported = time.monotonic() - began
    spent = 0.0
    load = parts.load_plans

    def timed() -> Any:
        nonlocal spent
        start = time.monotonic()
        loaded = load()
        spent += time.monotonic() - start
        return loaded

    parts.load_plans = timed  # type: ignore[assignment]
    began = time.monotonic()
    bag = BundleDagBag(dag_folder=str(file), bundle_path=file.parent, bundle_name="dags", load_op_links=False)
    made = time.monotonic() - began - spent
    if bag.import_errors:
        raise BenchmarkFailed(str(bag.import_errors))
    began = time.monotonic()
    for dag in bag.dags.values():
        LazyDeserializedDAG(data=DagSerialization.to_dict(dag))
    serialised = time.monotonic() - began
    tasks = sum(len(dag.tasks) for dag in bag.dags.values())
    return Parsed(file.name, imported, spent, made, serialised, len(bag.dags), tasks)


def _table(plans: int, found: list[Parsed]) -> Table:
    table = Table(
        "file", "DAGs", "tasks", "import, s", "plans read, s", "DAGs made, s", "to serialise them, s",
        title=f"{plans} plans of all schemes",
    )  # fmt: skip
    rows = [*found, _all(found)]
    for one in rows:
        told = (f"{getattr(one, name):.2f}" for name in _SECONDS)
        table.add_row(one.file, f"{one.dags:,}", f"{one.tasks:,}", *told)
    return table


def _all(found: list[Parsed]) -> Parsed:
    sums = [sum(getattr(one, name) for one in found) for name in _SECONDS]
    return Parsed("together", *sums, sum(one.dags for one in found), sum(one.tasks for one in found))
