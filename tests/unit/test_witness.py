"""What the witness must count, from hand-made logs."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from demo.witness import FaultKind, WitnessCount, acknowledged, count, first_processed, wait_until_complete
from demo.witness_log import Entry, Kind, Record, WitnessLog, parse

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
        record = Record(topic, 0, number, f"key-{number // 100}", f"{topic}-{number}", number)
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


def test_keys_read_out_of_order_are_counted_beside_the_messages(logs: Logs) -> None:
    logs.produced(1, 2, 3, 101, 102, 201)
    logs.processed(3, 102, 201, group="billing", instance="-second", servers="B")
    logs.processed(1, 2, 101, group="billing")
    logs.processed(1, 2, 3, 101, 102, 201, group="audit")
    found = logs.count()
    assert (found.lost, found.repeated, found.out_of_order) == (0, 0, 3)
    assert {one.group: one.keys_out_of_order for one in found.groups} == {"audit": 0, "billing": 2}


def test_first_fault_of_some_kinds_leaves_out_what_is_allowed(logs: Logs) -> None:
    logs.produced(1, 2, 3)
    logs.processed(2, 1, 3, 3, group="billing")
    logs.processed(1, 2, 3, group="audit")
    found = logs.count()
    assert str(found.first_fault) == "orders/0@1:out_of_order"
    assert str(found.first_of([FaultKind.LOST, FaultKind.REPEATED])) == "orders/0@3:repeated"
    assert found.first_of([FaultKind.LOST]) is None


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
    assert rhythm.last_servers == "B"
    assert found.groups[0].rhythm.switch_pause is None


def test_group_does_not_pause_while_nothing_is_there_for_it(logs: Logs) -> None:
    logs.produced(1)
    logs.processed(1, group="billing")
    logs.wait(60)
    logs.produced(2)
    logs.wait(4)
    logs.processed(2, group="billing")
    assert logs.count().groups[1].rhythm.longest_pause == pytest.approx(5)


def test_group_with_messages_left_pauses_though_nothing_new_is_produced(logs: Logs) -> None:
    logs.produced(1, 2)
    logs.processed(1, group="billing")
    logs.wait(60)
    logs.processed(2, group="billing")
    assert logs.count().groups[1].rhythm.longest_pause == pytest.approx(61)


def test_instance_on_the_other_cluster_fills_the_pause_of_the_first(logs: Logs) -> None:
    logs.produced(1, 2, 3, 4, 5)
    logs.processed(1, group="billing")
    logs.wait(10)
    logs.processed(2, group="billing", instance="-second", servers="B")
    logs.wait(10)
    logs.processed(3, group="billing")
    logs.processed(4, 5, group="billing", instance="-second", servers="B")
    rhythm = logs.count().groups[1].rhythm
    assert rhythm.longest_pause == pytest.approx(11)
    assert (rhythm.by_servers, rhythm.last_servers) == ({"A": 2, "B": 3}, "B")


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


def test_instances_with_the_same_log_write_a_file_each(tmp_path: Path) -> None:
    path = tmp_path / "analytics.tsv"
    first, second, third = (WitnessLog(path, servers) for servers in "ABC")
    for log, number in ((first, 1), (second, 2), (first, 3), (third, 4)):
        log.processed("billing", [Record("orders", 0, number, "k", f"orders-{number}", number)])
    assert [file.name for file in sorted(tmp_path.iterdir())] == ["analytics.2.tsv", "analytics.3.tsv", "analytics.tsv"]
    found = {one.group: one for one in count(tmp_path, READERS).groups}["billing"]
    assert (found.processed, found.out_of_order) == (4, 0)
    assert found.rhythm.by_servers == {"A": 2, "B": 1, "C": 1}


def test_log_whose_holder_has_ended_is_appended_to(tmp_path: Path) -> None:
    path = tmp_path / "billing.tsv"
    for number in (1, 2):
        log = WitnessLog(path, "A")
        log.processed("billing", [Record("orders", 0, number, "k", f"orders-{number}", number)])
        del log
    assert [file.name for file in tmp_path.iterdir()] == ["billing.tsv"]
    assert len(path.read_text(encoding="utf-8").splitlines()) == 2


def test_line_that_a_killed_instance_had_not_finished_does_not_spoil_the_next(tmp_path: Path) -> None:
    path = tmp_path / "billing.tsv"
    whole = Entry(1.0, Kind.PROCESSED, "billing", Record("orders", 0, 1, "k", "orders-1", 1), "A").line()
    path.write_text(whole + whole[:20], encoding="utf-8")
    WitnessLog(path, "A").processed("billing", [Record("orders", 0, 2, "k", "orders-2", 2)])
    assert {one.group: one.processed for one in count(tmp_path, READERS).groups}["billing"] == 2


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


def test_first_message_on_a_survivor_is_the_earliest_that_any_group_processed_there_since(logs: Logs) -> None:
    logs.processed(1, group="billing", servers="B")  # at 1001
    logs.wait(9)  # the loss, at 1010
    logs.produced(2, servers="B")
    logs.processed(3, group="audit", servers="A")  # at 1012, what it had fetched before
    logs.processed(4, 5, group="shipping", servers="B")
    logs.processed(2, group="billing", servers="B")
    first = first_processed(logs.directory, "B", since=1_010.0)
    assert first is not None
    assert (first.time, first.who, first.record.id) == (1_013.0, "shipping", "orders-4")
    assert first_processed(logs.directory, "B", since=1_020.0) is None
    assert first_processed(logs.directory, "C", since=0.0) is None


def test_acknowledged_at_a_cluster_is_what_a_producer_wrote_down_there(logs: Logs) -> None:
    logs.produced(1, 2, servers="A")
    logs.produced(3, servers="B")
    logs.produced(4, topic="payments", servers="A")
    logs.produced(5, topic="events", servers="A")
    logs.processed(6, group="billing", servers="A")
    assert acknowledged(logs.directory, "A", {"orders", "payments"}) == {"orders-1", "orders-2", "payments-4"}
