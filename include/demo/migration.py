"""The act of a migration's demo: the shop is moved through Airflow, leg by leg, then every message is counted."""

from __future__ import annotations

import time
from dataclasses import replace

from rich.console import Console

from demo.broker_loss import BrokerLoss
from demo.follow import nobody_watches
from demo.legs import legs_of, order_may_bend
from demo.playing import (
    SHOP_RUNS_FIRST,
    after_some_business,
    count_all,
    elsewhere,
    play,
    read_what_was_stored,
)
from demo.settings import Settings
from demo.stage import Stage
from demo.telling import Evidence, tell_copied, tell_count
from demo.verdict import RunEnd, Tally, Verdict, judge
from demo.view import say
from demo.witness import FaultKind, WitnessCount


def migrate(stage: Stage, settings: Settings, console: Console) -> Verdict:
    """Make the demo's runs, each only if the one before did what it should; let the groups finish; count."""
    legs = legs_of(settings)
    loss = _loss(stage, settings, console)
    ends: list[RunEnd] = []
    evidence = Evidence(None, {})
    time.sleep(max(0.0, SHOP_RUNS_FIRST - stage.shop_has_run))
    for number, leg in enumerate(legs, 1):
        if len(legs) > 1:
            say(console, f"leg {number} of {len(legs)}: {leg.dag}, {leg.told}")
        end, evidence = play(stage, leg, console, damaged=settings.damage, watch=loss.watch if loss else nobody_watches)
        ends.append(end)
        if ends[-1].problem is None and number < len(legs):
            ends[-1] = after_some_business(stage, ends[-1], console)
        if ends[-1].problem is not None:
            break
    if loss is not None:
        loss.end()
    arrived = ends[-1].problem is None
    if settings.history and (arrived or settings.damage):  # a damaged copy stops no service
        read_what_was_stored(stage, stage.target, console)
    counted = count_all(stage, console)
    tell_count(console, counted)
    tell_copied(console, evidence, counted)
    ends[-1] = replace(ends[-1], elsewhere=elsewhere(stage, counted, ends[-1].side))
    left_unread = not arrived and (settings.history or len(legs) > len(ends))
    return judge(
        ends,
        _tally(counted, settings),
        cut_short=left_unread,
        differs=evidence.first_difference,
        not_shown=loss.missing if loss else None,
    )


def _loss(stage: Stage, settings: Settings, console: Console) -> BrokerLoss | None:
    if settings.kill_in is None:
        return None
    clusters = {"source": stage.source, "target": stage.target}
    return BrokerLoss(clusters, settings.kill_in, lambda text: say(console, text))


def _tally(counted: WitnessCount, settings: Settings) -> Tally:
    bends = order_may_bend(settings)
    faults = {FaultKind.LOST, FaultKind.REPEATED} | (set() if bends else {FaultKind.OUT_OF_ORDER})
    first = counted.first_of(faults)
    return Tally(
        counted.produced,
        counted.lost,
        counted.repeated,
        counted.out_of_order,
        str(first) if first else None,
        order_may_bend=bends,
    )
