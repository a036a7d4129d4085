"""The service graph of a plan: which services move together, after which, and when a topic reaches its cutover point.

Made from the plan alone, without any cluster, so that the DAG of a plan can be drawn from it at parse time.

A *unit* is what is switched in one step: services that share a group; with `order: strict` also services that write the
same topic, because all writers of a topic must be stopped before one of them starts on the target. Services that only
produce and share a topic with a processor are stopped in the first stage and start again with that processor's unit.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from kafka_migration.errors import PlanError
from kafka_migration.plan.model import Plan, Service

FIRST_STAGE = "first"
"""The stage in which the topics reach their cutover point that only producers write, or nobody."""


@dataclass(frozen=True)
class Unit:
    """Services that are switched in one step.

    `held`: those of them that only produce and are stopped already in the first stage. `settles`: the topics that reach
    their cutover point when this unit, and the units in `settles_after`, have switched. `after`: the units that write
    what this one reads and have to switch before it, directly. `reads`: whether one of its services has a group.
    """

    name: str
    services: tuple[str, ...]
    held: tuple[str, ...]
    settles: tuple[str, ...]
    settles_after: tuple[str, ...]
    after: tuple[str, ...]
    reads: bool


@dataclass(frozen=True)
class Graph:
    """`producers`: the units of the first stage. `readers`: the others, each behind those that it depends on.

    Topics that no reader unit settles reach their cutover point in the first stage: those that only producers write,
    and those that nobody writes.
    """

    producers: tuple[Unit, ...]
    readers: tuple[Unit, ...]

    @property
    def units(self) -> tuple[Unit, ...]:
        return (*self.producers, *self.readers)

    @property
    def stages(self) -> tuple[str, ...]:
        """The stages in which topics reach their cutover point."""
        return (FIRST_STAGE, *(unit.name for unit in self.readers if unit.settles))

    def unit(self, name: str) -> Unit:
        return next(u for u in self.units if u.name == name)

    def unit_of(self, service: str) -> Unit:
        return next(u for u in self.units if service in u.services)

    @classmethod
    def of(cls, plan: Plan, file: str = "the plan") -> Graph:
        """Raises `PlanError` when services wait for one another in a circle."""
        groups = _units(plan)
        if plan.copies:
            # All writers are stopped before any service starts on the target: nobody waits for anybody's drain.
            units = [
                Unit(_unit_name(unit), tuple(s.name for s in unit), (), (), (), (), any(s.reads for s in unit))
                for unit in groups
            ]
            return cls(
                producers=tuple(unit for unit in units if not unit.reads),
                readers=tuple(unit for unit in units if unit.reads),
            )
        writers = {t: {s.name for s in plan.writers(t)} for s in plan.services for t in (*s.produces, *s.reads)}
        index = {service.name: i for i, unit in enumerate(groups) for service in unit}
        settled_by: dict[str, set[int]] = {t: {index[w] for w in ws} for t, ws in writers.items()}
        reading = {i for i, unit in enumerate(groups) if any(s.reads for s in unit)}
        held = {s.name for i in reading for s in groups[i] if not s.reads}
        first_stage = {t for t, by in writers.items() if all(w in held or index[w] not in reading for w in by)}
        after = {
            i: {
                j
                for s in unit
                for t in s.reads
                for j in settled_by[t]
                if j != i and not (t in first_stage and j in reading)  # what is held has stopped long before
            }
            for i, unit in enumerate(groups)
        }
        loops = [s.name for unit in groups for s in unit if _fed_by(unit, s) - first_stage]
        order = _ordered(after)
        if loops or order is None:
            stuck = loops or [s.name for i, unit in enumerate(groups) if _reaches_itself(i, after) for s in unit]
            raise PlanError(
                file,
                [
                    f"services: {', '.join(sorted(stuck))} wait for one another in a circle: each reads a topic that"
                    " another of them writes, so none can drain first; move one of the topics in a plan of its own, or"
                    " (order: strict) let only one service write each topic"
                ],
            )
        names = {i: _unit_name(unit) for i, unit in enumerate(groups)}
        moving_later = {t: {i for i in by if i in reading} for t, by in settled_by.items()}
        units = []
        for i in order:
            unit = groups[i]
            settles = sorted(
                t for t, by in moving_later.items() if t not in first_stage and by and _last(by, order) == i
            )
            others = {j for t in settles for j in settled_by[t] if j != i}
            units.append(
                Unit(
                    name=names[i],
                    services=tuple(s.name for s in unit),
                    held=tuple(s.name for s in unit if s.name in held),
                    settles=tuple(settles),
                    settles_after=tuple(names[j] for j in order if j in others),
                    after=tuple(names[j] for j in order if j in after[i]),
                    reads=i in reading,
                )
            )
        return cls(
            producers=tuple(u for u in units if not u.reads),
            readers=tuple(u for u in units if u.reads),
        )


def _units(plan: Plan) -> list[tuple[Service, ...]]:
    """Services joined by a shared group and, with strict order, by a shared topic that they write."""
    parent = {s.name: s.name for s in plan.services}

    def root(name: str) -> str:
        while parent[name] != name:
            name = parent[name]
        return name

    for a in plan.services:
        for b in plan.services:
            shared_group = set(a.groups) & set(b.groups)
            strict = plan.order == "strict" and not plan.copies
            shared_topic = set(a.produces) & set(b.produces) if strict else set()
            if shared_group or shared_topic:
                parent[root(b.name)] = root(a.name)
    together: dict[str, list[Service]] = {}
    for service in plan.services:
        together.setdefault(root(service.name), []).append(service)
    return [tuple(unit) for unit in together.values()]


def _fed_by(unit: Iterable[Service], service: Service) -> set[str]:
    """What this service reads that its own unit writes."""
    written = {t for s in unit for t in s.produces}
    return set(service.reads) & written


def _ordered(after: dict[int, set[int]]) -> list[int] | None:
    """The units so that each comes behind those it depends on, else in the order of the plan; None for a circle."""
    done: list[int] = []
    left = list(after)
    while left:
        ready = [i for i in left if after[i] <= set(done)]
        if not ready:
            return None
        done.append(ready[0])
        left.remove(ready[0])
    return done


def _reaches_itself(start: int, after: dict[int, set[int]]) -> bool:
    seen: set[int] = set()
    front = set(after[start])
    while front:
        if start in front:
            return True
        seen |= front
        front = {j for i in front for j in after[i]} - seen
    return False


def _last(units: set[int], order: list[int]) -> int:
    return max(units, key=order.index)


def _unit_name(unit: tuple[Service, ...]) -> str:
    return "_and_".join(s.name for s in unit)
