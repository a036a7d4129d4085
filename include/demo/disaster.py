"""The act of `SCHEME=disaster_recovery`: a mirror is kept, its source is killed, services follow it and come back.

Afterwards every message is counted, and what the loss cost: what was not mirrored, how long nobody processed anything,
what was processed twice. What the runs told of that is held against the shop's own books.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace

from rich.console import Console

from demo.follow import Run
from demo.legs import FAILBACK, FAILOVER, MIRROR, VERIFICATION, Leg
from demo.mirrored import behind, ids_on
from demo.playing import (
    DAG_WITHIN,
    SHOP_RUNS_FIRST,
    after_some_business,
    count_all,
    elsewhere,
    play,
    read_what_was_stored,
)
from demo.shop.catalogue import Catalogue
from demo.stage import Stage
from demo.telling import Evidence, Loss, tell_count, tell_failures, tell_loss
from demo.verdict import Recovery, RunEnd, Tally, Verdict, judge_recovery
from demo.view import say
from demo.waiting import WaitedInVain
from demo.witness import FaultKind, WitnessCount, acknowledged, first_processed

_SHOP_RUNS_MIRRORED = 10.0
_CAUGHT_UP_WITHIN = 600.0
_CAUGHT_UP_AT = 1_000  # offsets, some seconds of the shop's business: it never stands still
_LOOK_EVERY = 1.0
_SAY_EVERY = 5.0
_WATCH = "watch"
_WATCHES = {"running", "deferred", "up_for_reschedule"}


@dataclass
class _Story:
    """What has happened so far."""

    loss: Loss = field(default_factory=Loss)
    ends: list[RunEnd] = field(default_factory=list)
    evidence: dict[str, Evidence] = field(default_factory=dict)
    not_mirrored: int | None = None
    whole: bool = False

    @property
    def problem(self) -> bool:
        return any(end.problem is not None for end in self.ends)

    @property
    def announced(self) -> dict[str, int]:
        """What the failover and the tail announced, by group, added up: a message may be given again by both."""
        found: dict[str, int] = {}
        for evidence in self.evidence.values():
            for group, number in evidence.announced.items():
                found[group] = found.get(group, 0) + number
        return found

    @property
    def tail(self) -> int | None:
        """The messages that the failback found on the returned source, and nowhere else."""
        failback = self.evidence.get(FAILBACK.name)
        told = [tail["messages"] for tail in failback.told("tail")] if failback else []
        return max(told, default=None)


def survive(stage: Stage, console: Console) -> Verdict:
    """Lose the source, live on the target, come back; count. Each part only if the one before did what it should."""
    story = _Story()
    time.sleep(max(0.0, SHOP_RUNS_FIRST - stage.shop_has_run))
    _play_out(stage, story, console)
    if story.whole:
        read_what_was_stored(stage, stage.source, console)
    counted = count_all(stage, console)
    tell_count(console, counted)
    if story.whole:
        story.ends[-1] = replace(story.ends[-1], elsewhere=elsewhere(stage, counted, story.ends[-1].side))
    recovery = _recovery(story, counted)
    tell_loss(console, story.loss, recovery)
    return judge_recovery(story.ends, _tally(counted), recovery, cut_short=not story.whole)


def _play_out(stage: Stage, story: _Story, console: Console) -> None:
    """Until it is over, or a run did not do what it was to do."""
    say(console, "leg 1 of 5: the mirror catches up, and is watched")
    failed = _mirrored(stage, console)
    if failed is not None:
        story.ends.append(failed)
        return
    say(console, "the shop works on the source for some seconds")
    time.sleep(_SHOP_RUNS_MIRRORED)
    stage.raise_if_dead()

    say(console, "leg 2 of 5: the source cluster is lost")
    story.loss.killed = stage.lose_source()
    say(console, "SIGKILL to the source cluster, while all works")

    story.loss.failed_over = time.time()
    _leg(stage, story, 3, FAILOVER, console)
    story.loss.first = first_processed(
        stage.shop.witness_directory, stage.target.bootstrap_servers, since=story.loss.killed
    )
    if story.problem:
        return
    story.not_mirrored = _not_mirrored(stage)

    stage.return_source()
    story.loss.returned = time.time()
    say(console, "the source cluster runs again, on the data that it had")
    _leg(stage, story, 4, FAILBACK, console)
    if story.problem:
        return
    _leg(stage, story, 5, VERIFICATION, console)
    story.whole = not story.problem


def _leg(stage: Stage, story: _Story, number: int, leg: Leg, console: Console) -> None:
    say(console, f"leg {number} of 5: {leg.dag}, {leg.told}")
    began = time.monotonic()
    end, story.evidence[leg.name] = play(stage, leg, console)
    say(console, f"{leg.dag} took {time.monotonic() - began:.1f} s")
    story.ends.append(end)
    if not story.problem and leg is not VERIFICATION:
        story.ends[-1] = after_some_business(stage, end, console)


def _mirrored(stage: Stage, console: Console) -> RunEnd | None:
    """Return when the mirror has caught up and a run watches it; how a run of it ended that has failed."""
    stage.client.wait_for_dag(MIRROR, DAG_WITHIN, stage.raise_if_dead)
    say(console, f"{MIRROR} runs by its schedule; watch it at {stage.airflow.login.url}")
    topics = {topic.name: topic.partitions for topic in stage.shop.catalogue.topics}
    began = said = time.monotonic()
    while True:
        stage.raise_if_dead()
        for run_id, state in stage.client.runs(MIRROR):
            if state == "failed":
                return _failed(stage, Run(stage.client, MIRROR, run_id), console)
        left = behind(stage.workers["target"].url, stage.source.bootstrap_servers, topics)
        caught_up = left is not None and left <= _CAUGHT_UP_AT
        if caught_up and _is_watched(stage):
            seconds = time.monotonic() - began
            say(console, f"{MIRROR} watches the mirror, which has caught up: {seconds:.1f} s")
            return None
        now = time.monotonic()
        if now - said >= _SAY_EVERY:
            said = now
            say(console, "no mirror runs yet" if left is None else f"the mirror is {left:,} offsets behind")
        if now - began > _CAUGHT_UP_WITHIN:
            raise WaitedInVain(f"The mirror was not watched and caught up within {_CAUGHT_UP_WITHIN:.0f} s: {left=}.")
        time.sleep(_LOOK_EVERY)


def _is_watched(stage: Stage) -> bool:
    return any(
        row.task_id == _WATCH and row.state in _WATCHES
        for run_id, state in stage.client.runs(MIRROR)
        if state == "running"
        for row in stage.client.tasks(MIRROR, run_id)
    )


def _failed(stage: Stage, run: Run, console: Console) -> RunEnd:
    say(console, f"{run.dag_id} {run.run_id} failed")
    tell_failures(console, stage.airflow, run, run.failures())
    return RunEnd("mirror", "failed", Evidence.of_run(stage.evidence, run.run_id).verdict, side=None)


def _not_mirrored(stage: Stage) -> int:
    """Messages that the lost cluster had acknowledged, and that do not lie on the target. It takes a look at all."""
    topics = written(stage.shop.catalogue)
    return len(
        acknowledged(stage.shop.witness_directory, stage.source.bootstrap_servers, topics)
        - ids_on(stage.target.bootstrap_servers, topics)
    )


def written(catalogue: Catalogue) -> frozenset[str]:
    """The topics that some service writes. What was stored before had all been copied."""
    return frozenset(topic for service in catalogue.services for topic in service.writes)


def _recovery(story: _Story, counted: WitnessCount) -> Recovery:
    return Recovery(
        story.tail,
        story.not_mirrored,
        story.loss.seconds,
        story.announced,
        {group.group: group.repeated for group in counted.groups},
    )


def _tally(counted: WitnessCount) -> Tally:
    """The tail comes late, and so out of order; what is repeated is held against what was announced."""
    lost = counted.first_of({FaultKind.LOST})
    return Tally(
        counted.produced,
        counted.lost,
        counted.repeated,
        counted.out_of_order,
        str(lost) if lost else None,
        order_may_bend=True,
        may_repeat=True,
    )
