"""`make bench`: what is measured, one table each. `ONLY=copying,handover` picks; `SCALE=0.1` takes a tenth of the data.

The ratios of one run mean something; the seconds of one machine on one day mean little by themselves.
"""

from __future__ import annotations

import importlib
import math
import sys
from collections.abc import Sequence

from rich.console import Console

from benchmarks.failed import BenchmarkFailed
from demo.interrupts import Interrupted, raise_on_signals

BENCHMARKS = {
    "migration": "a migration as a plain script beside the same as a DAG run",
    "copying": "messages a second of this product's mirror beside MirrorMaker's defaults",
    "content": "messages a second whose content is compared, beside merely counting them",
    "verification": "seconds and memory of a verification: many partitions, little that is new",
    "handover": "seconds to compute and prove where 100 groups go on in 100 partitions",
    "standstill": "seconds that a producer stands still in mirror_first, whatever is stored",
    "scale": "seconds of each step from 10 to 10,000 partitions, beside what the brokers take",
    "parsing": "seconds in which Airflow's DAG processor reads 100 plans",
    "waits": "200 services that drain at once: worker slots, the triggerer, and who goes on when",
    "first_record": "seconds from a mirror's creation or start to the first message on the target",
}
_UNSCALED = ("migration",)  # its shop is as large as it is
_DRAWN = "scale"  # asked for alone and whole, it draws the picture of the documentation anew
_HELP = "help"


def main(arguments: Sequence[str]) -> int:
    settings = dict(argument.partition("=")[::2] for argument in arguments)
    chosen = settings.pop("ONLY", "").split(",") if settings.get("ONLY") else list(BENCHMARKS)
    scale = _scale(settings.pop("SCALE", ""))
    if scale is None or any(settings.values()) or not set(chosen) <= set(BENCHMARKS):
        print("make bench [ONLY=NAME,...] [SCALE=FACTOR above 0]: the factor is that of the data, 1 by default. Names:")
        for name, told in BENCHMARKS.items():
            print(f"  {name:<14} {told}")
        return 0 if chosen == [_HELP] else 2
    console = Console(width=120, highlight=False)
    raise_on_signals()
    try:
        for name in chosen:
            run = importlib.import_module(f"benchmarks.{name}").run
            console.print(f"{name}: {BENCHMARKS[name]}")
            if name in _UNSCALED:
                run(console)
            elif name == _DRAWN:
                run(console, scale, documented=chosen == [name] and scale == 1)
            else:
                run(console, scale)
    except Interrupted as interruption:
        console.print(f"interrupted by {interruption}")
        return 130
    except BenchmarkFailed as error:
        console.print(str(error), markup=False)
        return 1
    return 0


def _scale(text: str) -> float | None:
    try:
        scale = float(text or 1)
    except ValueError:
        return None
    return scale if 0 < scale < math.inf else None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
