"""What the witness must count, from hand-made logs."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from demo.witness import WitnessCount, count, wait_until_complete
from demo.witness_log import Entry, Kind, Record, parse

READERS = {"billing": ["orders"], "audit": ["orders", "payments"]}


class Logs:
    """Logs written by hand. Numbers are a message's id, its place and its order; each line is one second later."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._clock = 1_000.0

    def produced(self, *numbers: int, topic: str = "orders", servers: str = "A") -> None:
        for number in numbers:
            self._write("order-api", Kind.PRODUCED, "order-api", number, topic, servers)

    def processed(
        self,
        *numbers: int,
        group: str,
        topic: str = "orders",
        servers: str = "A",
        instance: str = "",
    ) -> None:
        for number in numbers:
            self._write(f"{group}{instance}", Kind.PROCESSED, group, number, topic, servers)

    def wait(self, seconds: float) -> None:
        self._clock += seconds

    def count(self) -> WitnessCount:
        return count(self.directory, READERS)

    def _write(self, file: str, kind: Kind, who: str, number: int, topic: str, servers: str) -> None:
        self._clock += 1
        record = Record(topic, 0, number, "key", f"{topic}-{number}", number)
        with (self.directory / f"{file}.tsv").open("a", encoding="utf-8") as log:
            log.write(Entry(self._clock, kind, who, record, servers).line())


@pytest.fixture
def logs(tmp_path: Path) -> Logs:
    return Logs(tmp_path)


def test_messages_processed_once_in_order_are_no_fault(logs: Logs) -> None:
    logs.produced(1, 2, 3)
    logs.processed(1, 2, 3, group="billing")
    logs.processed(1, 2, 3, group="audit")
    found = logs.count()
    assert (found.produced, found.lost, found.repeated, found.out_of_order) == (3, 0, 0, 0)
    assert found.first_fault is None
    assert [(one.group, one.processed) for one in found.groups] == [("audit", 3), ("billing", 3)]


def test_message_that_one_group_never_processed_is_lost_once(logs: Logs) -> None:
    logs.produced(1, 2, 3)
    logs.processed(1, 3, group="billing")
    logs.processed(1, 2, 3, group="audit")
    found = logs.count()
    assert (found.lost, found.repeated, found.out_of_order) == (1, 0, 0)
    assert str(found.first_fault) == "orders/0@2:lost"


def test_message_that_a_group_need_not_read_is_not_lost(logs: Logs) -> None:
    logs.produced(1, topic="payments")
    logs.processed(1, topic="payments", group="audit")
    assert logs.count().lost == 0


def test_message_processed_again_is_repeated_and_not_out_of_order(logs: Logs) -> None:
    logs.produced(1, 2, 3)
    logs.processed(1, 2, 3, 1, group="billing")
    logs.processed(1, 2, 3, group="audit")
    found = logs.count()
    assert (found.lost, found.repeated, found.out_of_order) == (0, 1, 0)
    assert str(found.first_fault) == "orders/0@1:repeated"


def test_swapped_messages_of_a_key_are_out_of_order_once(logs: Logs) -> None:
    logs.produced(1, 2, 3)
    logs.processed(1, 3, 2, group="billing")
    logs.processed(1, 2, 3, group="audit")
    found = logs.count()
    assert (found.lost, found.repeated, found.out_of_order) == (0, 0, 1)
    assert str(found.first_fault) == "orders/0@2:out_of_order"


def test_faults_of_all_groups_are_summed_and_the_earliest_is_named(logs: Logs) -> None:
    logs.produced(1, 2, 3, 4)
    logs.processed(1, 1, 2, 3, 4, group="billing")
    logs.processed(1, 2, 4, group="audit")
    found = logs.count()
    assert (found.lost, found.repeated, found.out_of_order) == (1, 1, 0)
    # The lost message was acknowledged before the other one was processed again.
    assert str(found.first_fault) == "orders/0@3:lost"


def test_two_instances_of_a_group_are_one_group(logs: Logs) -> None:
    logs.produced(1, 2, 3, 4)
    logs.processed(1, 2, group="billing")
    logs.processed(3, group="billing", instance="-second", servers="B")
    logs.processed(4, group="billing")
    logs.processed(1, 2, 3, 4, group="audit")
    found = logs.count()
    assert (found.lost, found.repeated, found.out_of_order) == (0, 0, 0)


def test_message_processed_by_both_instances_is_repeated(logs: Logs) -> None:
    logs.produced(1)
    logs.processed(1, group="billing")
    logs.processed(1, group="billing", instance="-second", servers="B")
    logs.processed(1, group="audit")
    assert logs.count().repeated == 1


def test_order_between_instances_is_that_of_time_not_of_files(logs: Logs) -> None:
    logs.produced(1, 2, 3)
    logs.processed(2, group="billing", instance="-second")
    logs.processed(1, 3, group="billing")
    logs.processed(1, 2, 3, group="audit")
    assert logs.count().out_of_order == 1


def test_message_that_nobody_got_an_acknowledgement_for_is_not_lost(logs: Logs) -> None:
    logs.produced(1)
    logs.processed(1, 2, group="billing")
    logs.processed(1, group="audit")
    found = logs.count()
    assert (found.produced, found.lost, found.repeated) == (1, 0, 0)
    assert {one.group: one.unacknowledged for one in found.groups} == {"audit": 0, "billing": 1}


def test_pauses_are_measured_overall_and_across_a_change_of_servers(logs: Logs) -> None:
    logs.produced(1, 2)
    logs.wait(6)
    logs.produced(3)
    logs.wait(2)
    logs.produced(4, servers="B")
    logs.processed(1, 2, 3, 4, group="billing")
    logs.processed(1, 2, 3, 4, group="audit")
    found = logs.count()
    rhythm = found.producers[0].rhythm
    assert rhythm.longest_pause == pytest.approx(7)
    assert rhythm.switch_pause == pytest.approx(3)
    assert rhythm.by_servers == {"A": 3, "B": 1}
    assert found.groups[0].rhythm.switch_pause is None


def test_line_still_being_written_is_not_counted(logs: Logs) -> None:
    logs.produced(1)
    with (logs.directory / "order-api.tsv").open("a", encoding="utf-8") as log:
        log.write("1001.0\tproduced\torder-a")
    assert logs.count().produced == 1


def test_damaged_line_is_named_with_its_file_and_number(logs: Logs) -> None:
    logs.produced(1)
    with (logs.directory / "order-api.tsv").open("a", encoding="utf-8") as log:
        log.write("nonsense\n")
    with pytest.raises(ValueError, match=r"order-api\.tsv:2"):
        logs.count()


def test_a_line_read_back_is_the_entry_that_was_written() -> None:
    entry = Entry(12.25, Kind.PROCESSED, "audit", Record("payments", 3, 9, "k", "payments-1", 1), "h:1,h:2")
    assert parse(entry.line()) == entry


def test_waiting_ends_as_soon_as_everything_is_processed(logs: Logs) -> None:
    logs.produced(1, 2)
    logs.processed(1, group="billing")
    logs.processed(1, 2, group="audit")
    late = threading.Timer(0.5, lambda: logs.processed(2, group="billing"))
    late.start()
    began = time.monotonic()
    found = wait_until_complete(logs.directory, READERS, timeout=60, quiet=30)
    late.join()
    assert found.lost == 0
    assert time.monotonic() - began < 20


def test_waiting_ends_when_nothing_moves_and_what_is_missing_is_lost(logs: Logs) -> None:
    logs.produced(1, 2)
    logs.processed(1, group="billing")
    logs.processed(1, 2, group="audit")
    found = wait_until_complete(logs.directory, READERS, timeout=60, quiet=0.3)
    assert found.lost == 1


def test_processing_may_be_written_down_before_the_acknowledgement(logs: Logs) -> None:
    logs.processed(1, group="billing")
    logs.processed(1, group="audit")
    logs.produced(1)
    found = wait_until_complete(logs.directory, READERS, timeout=60, quiet=30)
    assert (found.lost, found.repeated) == (0, 0)
