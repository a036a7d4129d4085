"""What may be set on `make demo`, and the values that exist. Uses the standard library alone.

So a mistake is answered at once, before anything is installed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

DISASTER = "disaster_recovery"
"""The demo in which nothing is migrated: a cluster is lost, and comes back."""

UNKNOWN = "unknown_value"
"""The reason of a verdict: something was set to what there is not."""


class BadSetting(Exception):
    """Something was set that there is not, or not yet. `reason` is one word for the verdict."""

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True)
class Settings:
    """What this demo shall show. Without a `rollback` it migrates once.

    `brokers` of each cluster. Of several one is killed in the step `kill_in`.
    """

    scheme: str = "producers_first"
    rollback: str | None = None
    damage: bool = False
    brokers: int = 1
    kill_in: str | None = None

    @property
    def history(self) -> bool:
        """Whether messages are stored before the shop opens, which a mirror has to copy."""
        return self.scheme in ("mirror_first", DISASTER)


KILL_IN: Mapping[str, tuple[str, ...]] = {
    "producers_first": ("drain", "create_topics", "switch_producers", "switch_consumers"),
    "producers_later": ("drain", "create_topics", "switch_producers", "close_originals"),
    "mirror_first": ("mirror", "create_topics", "switch_producers", "handover"),
}
"""The steps of each scheme in which a broker can be killed; the first where none is named."""

_ALLOWED = {
    "SCHEME": ("producers_first", "producers_later", "mirror_first", DISASTER),
    "ROLLBACK": ("after_producers", "after_consumers"),
    "DAMAGE": ("1",),
    "BROKERS": ("3",),
    "KILL_IN": tuple(dict.fromkeys(step for steps in KILL_IN.values() for step in steps)),
    "SECURE": ("1",),
}
_THERE_NOW = {
    "SCHEME": ("producers_first", "producers_later", "mirror_first", DISASTER),
    "ROLLBACK": ("after_producers", "after_consumers"),
    "DAMAGE": ("1",),
    "BROKERS": ("3",),
    "KILL_IN": _ALLOWED["KILL_IN"],
}


def read(assignments: Iterable[str]) -> Settings:
    """Refuse what cannot be done. Each is `NAME=value`; an empty value is one that was not set."""
    chosen: dict[str, str] = {}
    for assignment in assignments:
        name, _, value = assignment.partition("=")
        if name not in _ALLOWED:
            raise BadSetting(f"{name} cannot be set. What can: {_all_allowed()}.", "unknown_setting")
        if value and value not in _ALLOWED[name]:
            raise BadSetting(f"{name}={value} is unknown. Allowed: {_allowed(name)}.", UNKNOWN)
        if value and value not in _THERE_NOW.get(name, ()):
            there = ", ".join(f"{key}={one}" for key, values in _THERE_NOW.items() for one in values)
            raise BadSetting(f"{name}={value}: not yet. What there is now: {there}.", "not_yet")
        if value:
            chosen[name.lower()] = value
    damage = bool(chosen.pop("damage", None))
    if chosen.get("scheme") == DISASTER and (damage or "rollback" in chosen):
        name = "DAMAGE" if damage else "ROLLBACK"
        raise BadSetting(
            f"{name} goes with a migration. SCHEME={DISASTER} migrates nothing: its damage is the loss of the source,"
            " and its way back is the failback.",
            UNKNOWN,
        )
    scheme = chosen.setdefault("scheme", "mirror_first" if damage else "producers_first")
    if damage and (scheme != "mirror_first" or "rollback" in chosen):
        raise BadSetting("DAMAGE=1 goes with SCHEME=mirror_first alone, which it implies.", UNKNOWN)
    brokers = int(chosen.pop("brokers", 1))
    kill_in = _kill_in(scheme, brokers, chosen.pop("kill_in", None), damage=damage)
    return Settings(scheme, chosen.get("rollback"), damage, brokers, kill_in)


def _kill_in(scheme: str, brokers: int, chosen: str | None, *, damage: bool) -> str | None:
    """In which step a broker is killed; None where none is: a cluster of one broker would not survive it."""
    if brokers == 1:
        if chosen is not None:
            raise BadSetting("KILL_IN goes with BROKERS=3: it names the step in which a broker is killed.", UNKNOWN)
        return None
    if damage or scheme == DISASTER:
        name = "DAMAGE=1" if damage else f"SCHEME={DISASTER}"
        raise BadSetting(
            f"BROKERS=3 kills a broker in the middle of a migration, and does not go with {name}.", UNKNOWN
        )
    steps = KILL_IN[scheme]
    if chosen is not None and chosen not in steps:
        raise BadSetting(f"KILL_IN={chosen} is no step of SCHEME={scheme}. Its steps: {', '.join(steps)}.", UNKNOWN)
    return chosen or steps[0]


def _allowed(name: str) -> str:
    return ", ".join(f"{name}={value}" for value in _ALLOWED[name])


def _all_allowed() -> str:
    return "; ".join(f"{name}={'|'.join(values)}" for name, values in _ALLOWED.items())
