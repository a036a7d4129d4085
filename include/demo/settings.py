"""What may be set on `make demo`, and the values that exist. Uses the standard library alone.

So a mistake is answered at once, before anything is installed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

DISASTER = "disaster_recovery"
"""The demo in which nothing is migrated: a cluster is lost, and comes back."""


class BadSetting(Exception):
    """Something was set that there is not, or not yet. `reason` is one word for the verdict."""

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True)
class Settings:
    """What this demo shall show. Without a `rollback` it migrates once."""

    scheme: str = "producers_first"
    rollback: str | None = None
    damage: bool = False

    @property
    def history(self) -> bool:
        """Whether messages are stored before the shop opens, which a mirror has to copy."""
        return self.scheme in ("mirror_first", DISASTER)


_ALLOWED = {
    "SCHEME": ("producers_first", "producers_later", "mirror_first", DISASTER),
    "ROLLBACK": ("after_producers", "after_consumers"),
    "DAMAGE": ("1",),
    "BROKERS": ("3",),
    "SECURE": ("1",),
}
_THERE_NOW = {
    "SCHEME": ("producers_first", "producers_later", "mirror_first", DISASTER),
    "ROLLBACK": ("after_producers", "after_consumers"),
    "DAMAGE": ("1",),
}


def read(assignments: Iterable[str]) -> Settings:
    """Refuse what cannot be done. Each is `NAME=value`; an empty value is one that was not set."""
    chosen: dict[str, str] = {}
    for assignment in assignments:
        name, _, value = assignment.partition("=")
        if name not in _ALLOWED:
            raise BadSetting(f"{name} cannot be set. What can: {_all_allowed()}.", "unknown_setting")
        if value and value not in _ALLOWED[name]:
            raise BadSetting(f"{name}={value} is unknown. Allowed: {_allowed(name)}.", "unknown_value")
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
            "unknown_value",
        )
    scheme = chosen.setdefault("scheme", "mirror_first" if damage else "producers_first")
    if damage and (scheme != "mirror_first" or "rollback" in chosen):
        raise BadSetting("DAMAGE=1 goes with SCHEME=mirror_first alone, which it implies.", "unknown_value")
    return Settings(**chosen, damage=damage)


def _allowed(name: str) -> str:
    return ", ".join(f"{name}={value}" for value in _ALLOWED[name])


def _all_allowed() -> str:
    return "; ".join(f"{name}={'|'.join(values)}" for name, values in _ALLOWED.items())
