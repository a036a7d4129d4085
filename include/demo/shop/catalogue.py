"""What the shop consists of: its topics with their settings, its services with what each writes and reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

_DAY = 86_400_000


@dataclass(frozen=True)
class ShopTopic:
    name: str
    partitions: int
    settings: Mapping[str, str]


@dataclass(frozen=True)
class ShopService:
    """`module` runs it; `reads` holds the topics of each of its groups; `settings` go into its env file.

    `opens`: whether it starts when the shop opens. `far_behind`: it will not have read everything for a long while.
    """

    name: str
    module: str
    writes: tuple[str, ...] = ()
    reads: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)
    opens: bool = True
    far_behind: bool = False

    @property
    def only_writes(self) -> bool:
        return bool(self.writes) and not self.reads


TOPICS = (
    ShopTopic(
        "orders",
        6,
        {"retention.ms": f"{2 * _DAY}", "min.insync.replicas": "1", "max.message.bytes": "2097152"},
    ),
    ShopTopic("payments", 4, {"retention.ms": f"{30 * _DAY}", "min.insync.replicas": "1", "flush.ms": "5000"}),
    ShopTopic("shipments", 4, {"retention.bytes": "1073741824", "min.insync.replicas": "1"}),
    ShopTopic("returns", 2, {"retention.ms": f"{90 * _DAY}", "message.timestamp.type": "LogAppendTime"}),
    ShopTopic("customers", 2, {"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.3"}),
)

SERVICES = (
    ShopService("order-api", "order_api", writes=("orders", "customers"), settings={"SHOP_RATE": "300"}),
    ShopService("payments", "payments", writes=("payments",), settings={"SHOP_RATE": "100"}),
    ShopService("fulfilment", "fulfilment", writes=("shipments",), reads={"fulfilment": ("orders",)}),
    ShopService("billing", "billing", reads={"billing": ("orders",)}),
    ShopService("shipping", "shipping", reads={"shipping": ("shipments",)}),
    ShopService(
        "analytics",
        "analytics",
        reads={"analytics": ("orders", "payments", "shipments", "returns", "customers")},
        settings={"SHOP_BEHIND_SECONDS": "6"},
    ),
    ShopService("audit", "audit", reads={"audit": ("orders", "payments")}),
)

# Second instances of what reads, for a move in which both run at once, each on its own cluster. They do not open
# with the shop. `analytics` has none: whoever needs its second instance copies the program.
SECONDS = tuple(
    replace(service, name=f"{service.name}-second")
    for service in SERVICES
    if service.reads and service.name != "analytics"
)


@dataclass(frozen=True)
class Catalogue:
    """What one shop consists of. `seconds` do not open with it."""

    topics: tuple[ShopTopic, ...]
    services: tuple[ShopService, ...]
    seconds: tuple[ShopService, ...]

    @property
    def readers(self) -> dict[str, frozenset[str]]:
        """The topics that each group reads."""
        return {group: frozenset(topics) for service in self.services for group, topics in service.reads.items()}


EVENTS = ShopTopic("events", 4, {"retention.ms": f"{30 * _DAY}", "min.insync.replicas": "1"})
"""Stored long before the shop opens, and written by nobody any more."""

PLAIN = Catalogue(TOPICS, SERVICES, SECONDS)
WITH_HISTORY = Catalogue(
    (*TOPICS, EVENTS),
    (
        *SERVICES,
        # At that rate the stored events take it half an hour: it is far behind whenever it is moved.
        ShopService("ledger", "ledger", reads={"ledger": ("events",)}, settings={"SHOP_RATE": "100"}, far_behind=True),
        # Runs once a month; nobody runs it now.
        ShopService("archive", "archive", reads={"archive": ("events",)}, opens=False),
    ),
    SECONDS,
)
"""The shop with stored messages that have to come along, and two groups that have still to read the last of them."""

WITH_STOCK = Catalogue(
    (*TOPICS, ShopTopic("stock", 2, {"retention.ms": f"{_DAY}", "min.insync.replicas": "1"})),
    (
        *SERVICES,
        ShopService("warehouse", "warehouse", writes=("stock",), settings={"SHOP_RATE": "20"}),
        ShopService("restock", "restock", reads={"restock": ("stock",)}),
    ),
    SECONDS,
)
"""The shop and, beside it, a small second one with a topic and a group of its own, whose mirror is kept."""


def acknowledged_by_two(catalogue: Catalogue) -> Catalogue:
    """The same where topics have several replicas: none takes a message that only one broker has."""
    topics = tuple(replace(one, settings={**one.settings, "min.insync.replicas": "2"}) for one in catalogue.topics)
    return replace(catalogue, topics=topics)


def readers() -> dict[str, frozenset[str]]:
    """The topics that each group of the plain shop reads."""
    return PLAIN.readers
