"""What is told of replicas over racks, of replicas that lag, and of producers that do not wait for them."""

from __future__ import annotations

import subprocess
from dataclasses import replace

import pytest

from kafka_migration.checks.placement import racks_table, replicas_in_sync, spread
from kafka_migration.clusters.identity import Broker, Identity
from kafka_migration.findings import Finding, Status
from kafka_migration.services.processes import acks_in_use, weakest_acks
from kafka_migration.topics.describe import Placed, Topic


def cluster(*racks: str | None) -> Identity:
    return Identity("id", tuple(Broker(n, "host", 9092 + n, rack, "id") for n, rack in enumerate(racks, 1)))


def topic(*replicas: tuple[int, ...], needed: int = 2) -> Topic:
    placed = {number: Placed(one, one, one[0]) for number, one in enumerate(replicas)}
    return Topic("orders", len(placed), len(replicas[0]), {"min.insync.replicas": str(needed)}, frozenset(), placed)


ONE_ZONE = cluster("a", "a", "a")
THREE_ZONES = cluster("a", "b", "c")
TWO_OF_THREE = cluster("a", "b", "b")


def only(findings: list[Finding]) -> Finding:
    (finding,) = findings
    return finding


def test_replicas_in_a_rack_each_pass() -> None:
    finding = only(spread(({"orders": topic((1, 2, 3))}, ONE_ZONE), ({"orders": topic((3, 1, 2))}, THREE_ZONES)))
    assert (finding.id, finding.status) == ("replica-spread/all", Status.PASS)


def test_partition_with_both_replicas_in_one_rack_is_counted() -> None:
    there = topic((1, 2), (2, 3), (3, 1))
    finding = only(spread(({"orders": there}, ONE_ZONE), ({"orders": there}, TWO_OF_THREE)))
    assert (finding.id, finding.status) == ("replica-spread/orders", Status.WARN)
    assert "1 of 3 partitions" in finding.seen
    assert "2 racks (on the source 1)" in finding.expected


def test_fewer_racks_than_on_the_source_are_told_though_the_target_has_no_more() -> None:
    finding = only(spread(({"orders": topic((1, 2, 3))}, THREE_ZONES), ({"orders": topic((1, 2, 3))}, TWO_OF_THREE)))
    assert finding.status is Status.WARN
    assert "3 racks (on the source 3)" in finding.expected


def test_broker_that_does_not_answer_is_not_taken_for_one_of_a_known_rack() -> None:
    """Its rack is not known: nothing wrong may be said of it."""
    gone = replace(THREE_ZONES, brokers=THREE_ZONES.brokers[:2])
    orders = {"orders": topic((1, 2, 3))}
    assert only(spread((orders, ONE_ZONE), (orders, gone))).status is Status.PASS
    rows = racks_table({"target": (orders, gone)}).rows
    assert ("target", "does not answer", 0, 1, 0) in rows
    assert ("target", "a", 1, 1, 1) in rows


def test_nothing_is_said_of_a_target_without_racks() -> None:
    orders = {"orders": topic((1, 2, 3))}
    assert spread((orders, ONE_ZONE), (orders, cluster(None, None, None))) == []


@pytest.mark.parametrize(
    ("placed", "needed", "status"),
    [
        (Placed((1, 2, 3), (1, 2, 3), 1), 2, Status.PASS),
        (Placed((1, 2, 3), (1, 2), 1), 2, Status.WARN),
        (Placed((1, 2, 3), (1,), 1), 2, Status.FAIL),
        (Placed((1, 2, 3), (1, 2), None), 2, Status.FAIL),
        (Placed((1,), (1,), 1), 2, Status.PASS),  # Kafka asks for no more than there are
    ],
)
def test_partition_that_takes_no_message_stops_and_one_that_lags_warns(
    placed: Placed, needed: int, status: Status
) -> None:
    one = Topic("orders", 1, len(placed.replicas), {"min.insync.replicas": str(needed)}, frozenset(), {0: placed})
    assert only(list(replicas_in_sync("source", {"orders": one}))).status is status


@pytest.mark.parametrize(
    ("environment", "command", "acks"),
    [
        ({}, "java -jar shop.jar", None),
        ({"KAFKA_ACKS": "1"}, "", "1"),
        ({"SPRING_KAFKA_PRODUCER_ACKS": "-1"}, "", "all"),
        ({"A_ACKS": "all", "B_ACKS": "leader"}, "", "1"),
        ({"ACKS": "0"}, "producer --producer-property acks=all", "0"),
        ({}, "kcat -P -X request.required.acks=1 -t orders", "1"),
        ({}, "app -Dacks=10 --stacks=1", None),
        ({"TRACKS": "1", "KAFKA_ACKS": "tomorrow"}, "", None),
    ],
)
def test_weakest_acks_that_is_said_counts(environment: dict[str, str], command: str, acks: str | None) -> None:
    assert weakest_acks([environment], [command]) == acks


def test_acks_are_read_from_a_running_process_and_from_what_it_started() -> None:
    shell = "KAFKA_ACKS=1 sleep 60 & wait"
    with subprocess.Popen(["sh", "-c", shell], start_new_session=True) as process:
        try:
            seen = None
            while seen is None and process.poll() is None:
                seen = acks_in_use(process.pid)
            assert seen == "1"
        finally:
            subprocess.run(["pkill", "-KILL", "-s", str(process.pid)], check=True)
