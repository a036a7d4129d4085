"""What is done to copies to see whether a comparison finds it, and what each rule must then say.

`DAMAGES` is the one list of both: the tests do each of them to real topics, and docs/verification.md has it as a table.
It reaches no cluster.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from enum import StrEnum
from hashlib import blake2b
from itertools import pairwise

Content = tuple[bytes | None, bytes | None, list[tuple[str, bytes | None]], int]

PARTITIONS = 3
THERE = 2  # partitions of a copy that has not as many
AT = 1_700_000_000_000


class Rule(StrEnum):
    """By which copies are compared: as their topic is, and whether both have the same number of partitions."""

    IN_ORDER = "in order"
    LATEST = "latest of a key"
    WITHIN_KEYS = "within keys"
    LATEST_OF_ALL = "latest of a key, in all partitions"


@dataclass(frozen=True)
class Item:
    """A message of the origin, by a label that tells it; or one that a copy has in its place."""

    label: str
    partition: int
    content: Content

    @property
    def key(self) -> bytes | None:
        return self.content[0]

    def with_value(self, value: bytes | None) -> Item:
        key, _, headers, at = self.content
        return replace(self, content=(key, value, headers, at))


# Of every partition, in this order. A key's first, second and third message; "n": without a key; "gone2": a tombstone.
_LABELS = ["head", "a1", "b1", "b2", "gone1", "n1", "d1", "d2", "d3", "n2", "gone2", "a2", "empty", "n3", "tail"]


def origin(keyless: bool) -> list[list[Item]]:
    """The messages of each partition. `keyless`: some are without a key, which a compacted topic refuses."""
    labels = [label for label in _LABELS if keyless or not label.startswith("n")]
    return [[_item(label, number, partition) for number, label in enumerate(labels)] for partition in range(PARTITIONS)]


def _item(label: str, number: int, partition: int) -> Item:
    key = None if label.startswith("n") else f"{label.rstrip('123')}-{partition}".encode()
    value = {"gone2": None, "empty": b""}.get(label, f"{label} of {partition}".encode())
    headers: list[tuple[str, bytes | None]] = [("label", label.encode()), ("none", None)]
    return Item(f"{label}-{partition}", partition, (key, value, headers, AT + 100 * number + partition))


@dataclass
class Copy:
    """What the destination has, by partition, while it is damaged.

    `touched`: the labels of what a difference may name. `cut`: of the ranges that are compared, by side and partition,
    messages that are left out at the beginning and at the end. `expired`: by side, what is deleted since at the head of
    a partition; `known`: and the comparison was told so. `anew`: the topic is deleted and made again.
    """

    partitions: list[list[Item]]
    touched: set[str] = field(default_factory=set)
    cut: dict[tuple[int, int], tuple[int, int]] = field(default_factory=dict)
    expired: int | None = None
    known: bool = False
    anew: bool = False

    @classmethod
    def of(cls, messages: list[list[Item]], equal: bool) -> Copy:
        """A good one. `equal`: as many partitions; else a key goes where its hash says."""
        if equal:
            return cls([list(part) for part in messages])
        parts: list[list[Item]] = [[] for _ in range(THERE)]
        for row in zip(*messages, strict=True):
            for item in row:
                parts[_home(item)].append(item)
        return cls(parts)

    @property
    def all(self) -> Iterator[Item]:
        return (item for part in self.partitions for item in part)

    def find(self, label: str) -> tuple[list[Item], int]:
        for part in self.partitions:
            for place, item in enumerate(part):
                if item.label == label:
                    self.touched.add(label)
                    return part, place
        raise KeyError(label)

    def put(self, label: str, item: Item) -> None:
        part, place = self.find(label)
        part[place] = item

    def change(self, label: str, change: Callable[[Item], Item]) -> None:
        part, place = self.find(label)
        part[place] = change(part[place])

    def drop(self, *labels: str) -> None:
        for label in labels:
            part, place = self.find(label)
            del part[place]

    def swap(self, label: str, other: str) -> None:
        (one, i), (two, j) = self.find(label), self.find(other)
        one[i], two[j] = two[j], one[i]

    def elsewhere(self, *labels: str) -> None:
        """To the end of another partition."""
        for label in labels:
            part, place = self.find(label)
            item = part.pop(place)
            there = next(other for other in self.partitions if other is not part)
            there.append(item)


def _home(item: Item) -> int:
    return item.partition % THERE if item.key is None else blake2b(item.key).digest()[0] % THERE


@dataclass(frozen=True)
class Damage:
    """What is done, and the verdict of each rule; an empty one where it cannot be done. `why`: what is not seen."""

    name: str
    do: Callable[[Copy], None]
    in_order: str = "FAIL"
    latest: str = "FAIL"
    within_keys: str = "FAIL"
    latest_of_all: str = "FAIL"
    why: str = ""

    def verdict(self, rule: Rule) -> str:
        return {
            Rule.IN_ORDER: self.in_order,
            Rule.LATEST: self.latest,
            Rule.WITHIN_KEYS: self.within_keys,
            Rule.LATEST_OF_ALL: self.latest_of_all,
        }[rule]


def _value(item: Item) -> Item:
    return item.with_value(b"another")


def _key(item: Item) -> Item:
    return replace(item, content=(b"another", *item.content[1:]))


def _header(item: Item) -> Item:
    key, value, headers, at = item.content
    return replace(item, content=(key, value, [*headers[:-1], ("none", b"")], at))


def _timestamp(item: Item) -> Item:
    key, value, headers, at = item.content
    return replace(item, content=(key, value, headers, at + 1))


def _duplicate(copy: Copy) -> None:
    part, place = copy.find("a2-1")
    part.insert(place + 1, part[place])


def _older_again(copy: Copy) -> None:
    part, place = copy.find("a1-1")
    copy.find("a2-1")
    part.append(part[place])


def _extra(copy: Copy) -> None:
    part, place = copy.find("empty-1")
    part.insert(place, replace(part[place], label="new", content=(b"new", b"new", [], AT)))
    copy.touched.add("new")


def _swap_neighbours_of_two_keys(copy: Copy) -> None:
    pairs = ((one, two) for part in copy.partitions for one, two in pairwise(part))
    one, two = next((one, two) for one, two in pairs if one.key and two.key and one.key != two.key)
    copy.swap(one.label, two.label)


def _swap_far_apart(copy: Copy) -> None:
    """Of two keys that have no other message."""
    part, _ = copy.find("head-1")
    lonely = [item.label for item in part if item.label.startswith(("head", "empty", "tail"))]
    copy.swap(lonely[0], lonely[-1])


def _swap_without_key(copy: Copy) -> None:
    copy.swap("n1-1", "n3-1")


def _ends_early(copy: Copy) -> None:
    copy.touched.add(copy.partitions[1][-1].label)
    copy.cut[1, 1] = (0, 1)


def _begins_late(copy: Copy) -> None:
    copy.touched.add(copy.partitions[1][0].label)
    copy.cut[1, 1] = (1, 0)


def _origin_ends_early(copy: Copy) -> None:
    copy.touched.add("tail-1")
    copy.cut[0, 1] = (0, 1)


def _both_end_early(copy: Copy) -> None:
    """The last message of the origin's partition, and its copy, which is dropped."""
    copy.drop("tail-1")
    copy.cut[0, 1] = (0, 1)


def _expired(side: int, known: bool = False) -> Callable[[Copy], None]:
    def do(copy: Copy) -> None:
        copy.expired, copy.known = side, known

    return do


def _anew(copy: Copy) -> None:
    copy.anew = True


_NOT_LATEST = {"latest": "PASS", "latest_of_all": "PASS"}
_KEYLESS = {"latest": "", "latest_of_all": ""}
_BETWEEN_KEYS = {**_NOT_LATEST, "within_keys": "PASS"}
_LOST = dict.fromkeys(("in_order", "latest", "within_keys", "latest_of_all"), "INCONCLUSIVE")

_FORMER = "former messages of a key may be compacted away at any time"
_ORDER = "order between keys is none of the rule"
_HOMES = "which partition a key is in is none of the rule"
_BEYOND = "a key that lies beyond the end was written anew, and the former message compacted away"

DAMAGES = [
    Damage("none", lambda copy: None, *["PASS"] * 4),
    Damage("a message dropped", lambda copy: copy.drop("a2-1")),
    Damage("the first message dropped", lambda copy: copy.drop("head-1")),
    Damage("the last message dropped", lambda copy: copy.drop("tail-1")),
    Damage("a message that was never there", _extra),
    Damage("the latest message of a key twice", _duplicate, **_NOT_LATEST, why="the latest message is the same"),
    Damage("an older message of a key again, behind the latest", _older_again),
    Damage("a value altered", lambda copy: copy.change("a2-1", _value)),
    Damage("a key altered", lambda copy: copy.change("a2-1", _key)),
    Damage("a header altered", lambda copy: copy.change("a2-1", _header)),
    Damage("a timestamp altered", lambda copy: copy.change("a2-1", _timestamp)),
    Damage("a tombstone to an empty value", lambda copy: copy.change("gone2-1", lambda i: i.with_value(b""))),
    Damage("an empty value to a tombstone", lambda copy: copy.change("empty-1", lambda i: i.with_value(None))),
    Damage("a tombstone dropped", lambda copy: copy.drop("gone2-1")),
    Damage(
        "all messages of a deleted key dropped",
        lambda copy: copy.drop("gone1-1", "gone2-1"),
        **_NOT_LATEST,
        why="of a deleted key either side may hold nothing",
    ),
    Damage("a superseded message dropped", lambda copy: copy.drop("d1-1"), **_NOT_LATEST, why=_FORMER),
    Damage("a superseded value altered", lambda copy: copy.change("d2-1", _value), **_NOT_LATEST, why=_FORMER),
    Damage("two neighbours of one key swapped", lambda copy: copy.swap("b1-1", "b2-1")),
    Damage("two superseded neighbours swapped", lambda copy: copy.swap("d1-1", "d2-1"), **_NOT_LATEST, why=_FORMER),
    Damage("two of one key swapped, far apart", lambda copy: copy.swap("a1-1", "a2-1")),
    Damage("neighbours of two keys swapped", _swap_neighbours_of_two_keys, **_BETWEEN_KEYS, why=_ORDER),
    Damage("two of two keys swapped, far apart", _swap_far_apart, **_BETWEEN_KEYS, why=_ORDER),
    Damage("one message of a key in another partition", lambda copy: copy.elsewhere("d3-1")),
    Damage(
        "all messages of a key in another partition",
        lambda copy: copy.elsewhere("a1-1", "a2-1"),
        within_keys="PASS",
        latest_of_all="PASS",
        why=_HOMES,
    ),
    Damage("a message without key dropped", lambda copy: copy.drop("n2-1"), **_KEYLESS),
    Damage("a message without key altered", lambda copy: copy.change("n2-1", _value), **_KEYLESS),
    Damage(
        "a message without key in another partition",
        lambda copy: copy.elsewhere("n2-1"),
        **_KEYLESS,
        within_keys="PASS",
        why="messages without a key have no order and no partition by the rule",
    ),
    Damage(
        "two messages without key swapped",
        _swap_without_key,
        **_KEYLESS,
        within_keys="PASS",
        why="messages without a key have no order and no partition by the rule",
    ),
    Damage("the copy's range begins one message late", _begins_late),
    Damage("the copy's range ends one message early", _ends_early, **_NOT_LATEST, why=_BEYOND),
    Damage("the origin's range ends one message early", _origin_ends_early, **_NOT_LATEST, why=_BEYOND),
    Damage(
        "the last message dropped, and out of the origin's range",
        _both_end_early,
        *["PASS"] * 4,
        why="what lies outside of the ranges is not looked at: the steps freeze them",
    ),
    Damage("the head deleted on the origin since", _expired(0), **_LOST),
    Damage("the head deleted on the destination since", _expired(1), **_LOST),
    Damage(
        "the head deleted on the origin since, and compared from there on",
        _expired(0, known=True),
        in_order="INCONCLUSIVE",
        latest="",
        within_keys="",
        latest_of_all="",
    ),
    Damage(
        "the topic deleted, made anew and filled again",
        _anew,
        why="told by the topic's id, before anything is compared",
    ),
]


def table() -> list[str]:
    """The lines of the table in docs/verification.md."""
    rows = [[damage.name, *(damage.verdict(rule) or "–" for rule in Rule), damage.why] for damage in DAMAGES]
    head = ["damage to the copy", *Rule, "why"]
    return [f"| {' | '.join(row)} |".replace("|  |", "| |") for row in (head, ["---"] * len(head), *rows)]
