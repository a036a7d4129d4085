"""How fast a mirror copies, whether it goes on, and what is done about one that does not.

What one look must know of the former ones travels in its memory: `samples` of how far copying and writing have come,
`at` and `moved` (how far all positions have come together, and since when), `restarts` of failed tasks.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from kafka_migration.clusters.protocol import speak
from kafka_migration.evidence.words import duration
from kafka_migration.mirror.runner import MirrorRunner, Progress
from kafka_migration.offsets import Offsets, Which, read_several
from kafka_migration.run import Run
from kafka_migration.steps import remade
from kafka_migration.topics.describe import describe_topics
from kafka_migration.waiting import Look, Outcome

_LOOK_AFTER = 60.0  # seconds in which a mirror that tells nothing of itself has not moved: its process is looked at
_STUCK_AFTER = 300.0  # seconds in which a mirror that runs has copied nothing, though there is more
_RESTARTS = 3
_RATE_OVER = 10.0


def kept_running(mirror: MirrorRunner, log: logging.Logger) -> MirrorRunner:
    """The mirror, what had failed of it started again: that is told in the log."""
    restarted = mirror.restart_failed()
    if restarted:
        log.warning("restarted: %s", ", ".join(restarted))
    return mirror


def failing(progress: Progress, memory: Mapping[str, Any]) -> Look | None:
    """What to do about tasks of the mirror that have failed: start them again, a few times. None where none has."""
    if not progress.failures:
        return None
    tries = memory.get("restarts", 0)
    told = tuple(f"{task}: {trace.splitlines()[0]}" for task, trace in progress.failures.items())
    if tries >= _RESTARTS:
        why = "\n".join(progress.failures.values())
        return Look(Outcome.FAILED, told, memory, f"the mirror fails again after {tries} restarts:\n{why}")
    return Look(Outcome.AGAIN, told, {**memory, "restarts": tries + 1}, "a task of the mirror has failed")


def overtaken(at: Offsets, starts: Offsets, memory: Mapping[str, Any]) -> Look | None:
    """The end of a wait in which retention has deleted what was not copied yet. None where it has not."""
    deleted = [
        f"{tp}: offsets {offset:,} to {starts[tp]:,}" for tp, offset in sorted(at.items()) if starts[tp] > offset
    ]
    if not deleted:
        return None
    why = (
        "retention has overtaken the mirror; these were deleted before they were copied:\n  "
        + "\n  ".join(deleted)
        + f"\nRaise the retention of the topics. Then {remade.ANEW.format(what='these topics')}."
    )
    return Look(Outcome.FAILED, (), memory, why)


def bytes_each(run: Run, topics: Sequence[str]) -> float | None:
    """The mean size of a stored offset on the origin, where its brokers tell."""
    with speak(run.clusters.origin) as protocol:
        stored = protocol.stored_bytes(topics) if protocol else None
    described = describe_topics(run.clusters.origin, topics)
    partitions = [tp for topic in described.values() for tp in topic.numbered()]
    offsets = read_several(run.clusters.origin, partitions, (Which.START, Which.END))
    kept = sum(offsets[Which.END][tp] - offsets[Which.START][tp] for tp in partitions)
    if not stored or not kept:
        return None
    return sum(size / max(1, described[topic].replication_factor) for topic, size in stored.items()) / kept


def remember(memory: Mapping[str, Any], at: int, end: int, now: float) -> dict[str, Any]:
    """The memory with one more sample. `at`, `end`: how far copying and writing have come, of all partitions."""
    samples = [*memory.get("samples", ()), [now, at, end]]
    while len(samples) > 2 and now - samples[1][0] >= _RATE_OVER:
        samples.pop(0)
    return {"first": at, **memory, "samples": samples, **movement(memory, at, now)}


def movement(memory: Mapping[str, Any], at: int, now: float) -> dict[str, Any]:
    """How far all positions have come together, and since when."""
    return {"at": at, "moved": now if at != memory.get("at") else memory["moved"]}


def again_if_silent(progress: Progress, kept: Mapping[str, Any], now: float, line: str) -> Look:
    """Go on waiting; of a mirror that tells no state and does not move let its process be looked at, and started."""
    since = max(kept["moved"], kept.get("looked", 0.0))
    if progress.state is None and now - since > _LOOK_AFTER:
        why = f"nothing has been copied for {now - kept['moved']:.0f} s: the mirror's process is looked at"
        return Look(Outcome.AGAIN, (line,), {**kept, "looked": now}, why)
    return Look(Outcome.WAITING, (line,), kept)


def stuck(progress: Progress, kept: Mapping[str, Any], now: float, line: str) -> Look | None:
    """The end of a wait for a mirror that says that it runs, and copies nothing though there is more. None: it does."""
    still = now - kept["moved"]
    if still <= _STUCK_AFTER:
        return None
    says = progress.state or "nothing of itself"
    why = f"the mirror says {says} and has copied nothing for {still:.0f} s: {line}. Look at its log."
    return Look(Outcome.FAILED, (line,), kept, why)


def rates(samples: list[list[float]]) -> tuple[float, float]:
    """Offsets a second: copied, and written meanwhile."""
    (began, at, end), (now, at_now, end_now) = samples[0], samples[-1]
    if now <= began:
        return 0.0, 0.0
    return (at_now - at) / (now - began), (end_now - end) / (now - began)


def progress_line(left: int, copied: float, written: float, size_each: float | None) -> str:
    """The line of a wait's log. `left`: offsets; `copied`, `written`: a second; `size_each`: bytes of one, if known."""
    size = f" (about {left * size_each / 2**20:,.0f} MiB)" if size_each else ""
    gain = copied - written
    when = f"about {duration(left / gain)}" if gain > 0 else "not gaining on what is written"
    return f"{left:,} offsets left{size}, {copied:,.0f}/s copied, {written:,.0f}/s written, {when}"
