"""`mirror: ways: both_ways` with its default names: both clusters copy to each other, and nothing comes back."""

from __future__ import annotations

import contextlib
import itertools
import json
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
from tests.conftest import RunningCluster
from tests.integration.scene import Daemon, Town, found, look_once, verify
from tests.integration.workbench import Workbench, eventually

from demo.connect import ConnectWorker
from kafka_migration.clusters.client import Cluster
from kafka_migration.errors import FindingsFailed
from kafka_migration.findings import Status
from kafka_migration.mirror.legs import Legs
from kafka_migration.mirror.properties import IDENTITY_POLICY
from kafka_migration.mirror.rest import Connect, ConnectAccess
from kafka_migration.offsets import OffsetRange, TopicPartition, Which, read_offsets
from kafka_migration.plan.model import Plan
from kafka_migration.purposes import MIRROR, VERIFY
from kafka_migration.report import StepReport
from kafka_migration.run import Run
from kafka_migration.sides import Side
from kafka_migration.steps import keeping, mirroring, preflight, topics, watching
from kafka_migration.steps.both_places import survived
from kafka_migration.topics.create import add_partitions
from kafka_migration.topics.describe import describe_topics, topic_names
from kafka_migration.visible import each_visible
from kafka_migration.waiting import Look, Outcome

SIDE_BY_SIDE = 60.0  # seconds; twelve times as long as a mirror takes to look for new topics
_TURN = 0.5


@pytest.fixture(scope="module")
def workers(
    source: RunningCluster, target: RunningCluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[Side, Connect]]:
    folder = tmp_path_factory.mktemp("connect")
    with contextlib.ExitStack() as stack:
        made = [
            ConnectWorker(f"ways-{side}", cluster.bootstrap_servers, folder / side)
            for side, cluster in ((Side.SOURCE, source), (Side.TARGET, target))
        ]
        yield {
            side: Connect(ConnectAccess(stack.enter_context(one).url))
            for side, one in zip((Side.SOURCE, Side.TARGET), made, strict=True)
        }


@dataclass
class Ways:
    """`one` writes `t`, `two` reads it, and the target has a topic of the same name that is its own."""

    town: Town
    plan: Plan
    t: TopicPartition

    def run(self, run_id: str = "first", **keys: Any) -> Run:
        return self.town.run(self.plan, run_id, MIRROR, **keys)

    def start(self) -> StepReport:
        """As `<plan>.mirror` does, which runs again and again."""
        run = self.run()
        topics.create(run)
        return mirroring.start(run)

    def copy(self, side: Side, tp: TopicPartition | None = None) -> TopicPartition:
        """Where the copies of that side's topic lie on the other."""
        of = tp or self.t
        return TopicPartition(f"{side}.{of.topic}", of.partition)

    def change(self, **keys: Any) -> None:
        """Of what the plan says of its mirror."""
        told = self.plan.model_dump(exclude_unset=True)
        self.plan = Plan.model_validate({**told, "mirror": {**told["mirror"], **keys}})

    def values(self, side: Side, tp: TopicPartition, begin: int = 0) -> list[bytes | None]:
        bench, told = self.town.bench(side), []
        end = read_offsets(bench.cluster, [tp], Which.STABLE)[tp]
        each_visible(bench.cluster, [OffsetRange(tp, begin, end)], lambda _, m: told.append(m.value()))
        return told

    def await_copies(self, side: Side, count: int, tp: TopicPartition | None = None) -> None:
        """Until that many of that side's messages are on the other."""
        copy = self.copy(side, tp)
        eventually(lambda: len(self.values(side.other, copy)) >= count, f"{count} copies in {copy}", 60)

    def await_stored(self, side: Side) -> None:
        """Until that side's mirror has stored that it has copied all."""
        mirror, worker = self.run().mirrors[side.other], self.town.workers[side.other]
        end = self.town.bench(side).end(self.t)
        eventually(lambda: worker.positions(mirror.name).get(self.t) == end, f"{mirror} to come to {end}", 60)

    def names(self, side: Side) -> set[str]:
        """The topics there that this test has anything to do with."""
        return {name for name in topic_names(self.town.bench(side).cluster) if self.town.suffix in name}

    def foreign(self, name: str, worker: Side, origin: Side | str, **config: str) -> str:
        """A connector of somebody else, which does not run."""
        there, full = self.town.workers[worker], self.town.named(name)
        address = origin if not isinstance(origin, Side) else self.town.bench(origin).bootstrap_servers
        there.create_stopped(
            full,
            {
                "connector.class": "MirrorSourceConnector",
                "source.cluster.alias": "elsewhere",
                "target.cluster.alias": "here",
                "source.cluster.bootstrap.servers": address,
                "target.cluster.bootstrap.servers": self.town.bench(worker).bootstrap_servers,
                "topics": self.t.topic,
                "heartbeats.replication.enabled": "false",
                **{key.replace("__", "."): value for key, value in config.items()},
            },
        )
        return full


@pytest.fixture
def ways(
    source: RunningCluster, target: RunningCluster, daemon: Daemon, workers: dict[Side, Connect]
) -> Iterator[Ways]:
    with Town.of(source.bootstrap_servers, target.bootstrap_servers, daemon) as town:
        town.workers |= workers
        name = town.named("t")
        [t] = town.topic(name, retention_ms="86400000")
        town.topic(name, side=Side.TARGET)
        services = [town.service("one", [t]), town.service("two", (), {town.named("g"): [t]})]
        services[1]["consumes"][0]["subscription"] = rf"((source|target)\.)?{name}"
        mirror = {"connection": "connect_target", "back": "connect_source", "ways": "both_ways"}
        plan = town.plan(services, include=[rf".*{town.suffix}"], scheme="mirror", mirror=mirror)
        yield Ways(town, plan, t)
        for run_mirror in town.run(plan, purpose=MIRROR).mirrors.values():
            run_mirror.remove()
        for worker in workers.values():
            for other in worker.connectors():
                if town.suffix in other:
                    worker.remove(other)


def test_both_ways_side_by_side_copy_each_message_once_and_nothing_comes_back(ways: Ways) -> None:
    for side in Side:
        # As another MirrorMaker has it: what its name ends with makes it a topic of heartbeats (KIP-382).
        ways.town.topic(f"{ways.town.suffix}.heartbeats", side=side)
    before = {side: ways.names(side) for side in Side}
    written: dict[Side, list[bytes]] = {side: [] for side in Side}
    ways.start()
    own = {side: before[side] | {ways.copy(side.other).topic} for side in Side}
    until = time.monotonic() + SIDE_BY_SIDE
    turns = 0
    while time.monotonic() < until:
        turns += 1
        for side in Side:
            value = f"{side} {turns}".encode()
            ways.town.bench(side).write(ways.t, 3, value=value)
            written[side] += [value] * 3
            assert ways.names(side) == own[side], "nothing but one topic for the copies comes, and that at once"
        if turns % 20 == 0:
            assert ways.start().changes == [], "what is watched again and again is left alone"
        time.sleep(_TURN)
    for side in Side:
        ways.await_copies(side, len(written[side]))
    time.sleep(2.0)  # nothing to wait for: it is the absence of more that is looked at
    for side in Side:
        assert ways.values(side, ways.t) == written[side], "a cluster's own topic holds what was written there"
        assert Counter(ways.values(side.other, ways.copy(side))) == Counter(written[side]), "copied once"
        assert ways.values(side.other, ways.copy(side)) == written[side], "in order"
        assert ways.names(side) == own[side]


def test_both_ways_are_watched_and_each_is_set_right(ways: Ways) -> None:
    memory: dict[str, Any] = {}

    def prepared() -> dict[str, Any]:
        brief: dict[str, Any] = json.loads(json.dumps(watching.watch.prepare(ways.run(), {})))
        return brief

    keeping.create_topics(ways.run())
    keeping.start_mirror(ways.run())
    brief = prepared()
    for side in Side:
        ways.town.bench(side).write(ways.t, 5)

    def look() -> Look:
        seen = look_once(watching.watch, ways.run(), brief, memory)
        memory.clear()
        memory.update(seen.memory)
        assert seen.outcome is not Outcome.FAILED, seen.why
        if seen.outcome is Outcome.AGAIN:
            brief.clear()
            brief.update(prepared())
        return seen

    def caught_up() -> bool:
        ways.await_copies(Side.SOURCE, 5)
        ways.await_copies(Side.TARGET, 5)
        numbers = look().numbers
        return all(numbers.get(f"mirror.to_{side}.behind") == 0 for side in Side)

    eventually(caught_up, "both to be told as copied", 60)
    home = ways.run().mirrors[Side.SOURCE].name
    ways.town.workers[Side.SOURCE]._call("PUT", f"/connectors/{home}/pause")
    eventually(lambda: ways.town.workers[Side.SOURCE].state(home)[0] == "PAUSED", "it to pause")
    assert look().outcome is Outcome.AGAIN
    eventually(lambda: ways.town.workers[Side.SOURCE].state(home)[0] == "RUNNING", "it to run again")
    assert f"mirror-resumed/{home}" in {one.get("finding") for one in look().memory["did"]}
    assert keeping.create_topics(ways.run()).changes == [], "each side's own topics are left alone"


def test_copies_have_the_partitions_and_settings_of_their_originals_also_those_that_come_later(ways: Ways) -> None:
    ways.start()
    for side, kept in ((Side.SOURCE, "86400000"), (Side.TARGET, "604800000")):
        copy = ways.copy(side).topic
        assert describe_topics(ways.town.bench(side.other).cluster, [copy])[copy].settings["retention.ms"] == kept
    grown = TopicPartition(ways.t.topic, 1)
    for side in Side:
        add_partitions(ways.town.bench(side).cluster, {ways.t.topic: 2})
    [new] = ways.town.topic(ways.town.named("new"))
    ways.town.source.write(new, 2, value=b"new")
    for side in Side:
        Workbench(ways.town.bench(side).bootstrap_servers, side).write(grown, 2, value=b"grown")
    ways.start()
    for side in Side:
        ways.await_copies(side, 2, grown)
        assert ways.values(side.other, ways.copy(side, grown)) == [b"grown"] * 2
    ways.await_copies(Side.SOURCE, 2, new)
    there = ways.town.target.cluster
    assert describe_topics(there, [new.topic]), "who comes over in a failover finds the topic that it writes"
    both = {leg.heading: leg for leg in Legs(ways.town.records).all()}
    assert all(set(leg.onto.values()) == {0} for leg in both.values())
    assert {side: set(leg.begin) for side, leg in both.items()} == {side: {ways.t, grown, new} for side in Side}, (
        "recorded, so that a verification and a failover know it"
    )


def test_verification_compares_each_way_as_far_as_its_mirror_has_come_and_names_what_is_foreign(ways: Ways) -> None:
    ways.start()

    def looked(run_id: str, side: Side) -> StepReport:
        return verify(ways.town.run(ways.plan, run_id, VERIFY).headed(side))

    for count in (3, 8):
        for side in Side:
            ways.town.bench(side).write(ways.t, count - (3 if count == 8 else 0), value=str(count).encode())
        for side in Side:
            ways.await_stored(side)
            report = looked(f"after {count}", side.other)
            assert found(report, f"content/{ways.copy(side).topic}").status is Status.PASS
            assert report.data["compared"]["messages"] == count
            before = count - 5 if count == 8 else 0
            assert (f"{before} of them proved before" in report.summary) is (before > 0), "only what came since is read"
    ways.town.source.write(ways.copy(Side.TARGET), 1, value=b"foreign")
    for side in Side:
        ways.town.bench(side).write(ways.t, 1)
        ways.await_stored(side)
    assert looked("again", Side.TARGET).data["compared"]["messages"] == 9
    with pytest.raises(FindingsFailed) as failed:
        looked("again", Side.SOURCE)
    assert failed.value.report is not None
    told = found(failed.value.report, f"content/{ways.copy(Side.TARGET).topic}")
    assert (told.status, "1 extra" in told.seen) == (Status.FAIL, True)


def test_groups_of_a_lost_source_skip_nothing_on_the_target_and_repeat_no_more_than_told(ways: Ways) -> None:
    """Of either topic, though nothing of the source is asked; and hardly more than where the mirror has told little."""
    ways.change(properties={"offset.lag.max": 5})
    ways.start()
    for side in Side:
        bench = ways.town.bench(side)
        for turn in range(6):  # markers and aborted messages have offsets that no copy has
            for number in range(10):
                bench.write(ways.t, 1, value=f"{side} {turn} {number}".encode())
            bench.abort_transaction(ways.t, 3)
            bench.commit_transaction(ways.t, 2)
        bench.write(ways.t, 1, value=b"the last")
        ways.await_stored(side)
    group = next(iter(ways.plan.groups))
    run = ways.run()
    there = {Side.SOURCE: (ways.t, ways.copy(Side.SOURCE)), Side.TARGET: (ways.copy(Side.TARGET), ways.t)}
    gone = Cluster(Side.SOURCE, "gone", {"bootstrap.servers": "127.0.0.1:1"})
    lost = replace(run, clusters=replace(run.clusters, source=gone))
    copied = {ways.t: (ways.town.source.end(ways.t), ways.town.target.end(ways.copy(Side.SOURCE)))}
    for share, ends in itertools.product((0.0, 0.3, 0.7, 1.0), (None, copied)):
        commits = {here: int(ways.town.source.end(here) * share) for here, _ in there.values()}
        places = {one.partition: one for one in survived(lost, {group: commits}, ends)}
        for here, copy in there.values():
            unread = ways.values(Side.SOURCE, here, commits[here])
            goes_on = ways.values(Side.TARGET, copy, places[copy].offset)
            assert goes_on[len(goes_on) - len(unread) :] == unread, f"{copy}: something would be skipped"
            again = len(goes_on) - len(unread)
            assert again <= min(places[copy].near, 20), f"{copy} from {commits[here]}: {places[copy]}"
    [never, also] = survived(lost, {})
    assert (never.offset, also.offset) == (0, 0), "who was never seen to commit reads all"


def test_what_would_loop_is_refused_before_anything_is_copied(ways: Ways) -> None:
    assert not [f for f in look(ways).findings if f.id.startswith(("mirror-", "two-clusters")) and f.stops]
    names = {
        ways.foreign("back", Side.SOURCE, Side.TARGET, replication__policy__class=IDENTITY_POLICY): "from the target",
        ways.foreign("onto", Side.SOURCE, Side.SOURCE, replication__policy__class=IDENTITY_POLICY): "from the same",
        ways.foreign("there", Side.TARGET, Side.SOURCE, replication__policy__class=IDENTITY_POLICY): "from the source",
    }
    report = look(ways)
    for name, told in names.items():
        finding = found(report, f"mirror-loop/{name}")
        assert (finding.status, told in finding.seen, ways.t.topic in finding.seen) == (Status.FAIL, True, True)
        assert not [f for f in report.findings if f.id.startswith(f"mirror-other/{name}")], "said once"
    with pytest.raises(FindingsFailed, match="mirror-loop/"):
        preflight.preflight(ways.run())


def test_one_way_is_refused_as_well_where_another_copies_back(ways: Ways) -> None:
    ways.change(ways="one_way")
    back = ways.foreign("back", Side.SOURCE, Side.TARGET, replication__policy__class=IDENTITY_POLICY)
    unknown = ways.foreign("unknown", Side.SOURCE, "nowhere:9092", replication__policy__class=IDENTITY_POLICY)
    prefixing = ways.foreign("prefixing", Side.SOURCE, Side.TARGET, heartbeats__replication__enabled="true")
    excluding = ways.foreign(
        "excluding", Side.SOURCE, Side.TARGET, replication__policy__class=IDENTITY_POLICY, topics__exclude=ways.t.topic
    )
    findings = look(ways).findings
    told = {f.id: f.status for f in findings if f.id.startswith(("mirror-loop/", "mirror-heartbeats/"))}
    assert told == {
        f"mirror-loop/{back}": Status.FAIL,
        f"mirror-loop/{unknown}": Status.INCONCLUSIVE,
        f"mirror-heartbeats/{prefixing}": Status.WARN,
    }
    assert excluding not in str(told), "what it leaves out it does not copy"


def test_one_cluster_under_two_names_is_refused(ways: Ways, source: RunningCluster, daemon: Daemon) -> None:
    town = Town.of(source.bootstrap_servers, source.bootstrap_servers, daemon)
    town.workers |= dict.fromkeys(Side, ways.town.workers[Side.SOURCE])
    report = preflight.preflight_report(town.run(ways.plan, purpose=MIRROR))
    assert found(report, "two-clusters/cluster-id").status is Status.FAIL


def test_what_lies_where_copies_go_or_looks_like_a_copy_is_told(ways: Ways) -> None:
    taken, own = ways.copy(Side.SOURCE), f"source.own-{ways.town.suffix}"
    ways.town.topic(taken.topic, side=Side.TARGET)
    ways.town.target.write(taken, 1)
    ways.town.topic(own)
    report = look(ways)
    assert found(report, f"mirror-name/{taken.topic}").status is Status.FAIL
    passed = found(report, f"mirror-name/{own}")
    assert (passed.status, "is not copied" in passed.seen) == (Status.WARN, True)


def test_group_that_reads_the_copies_beside_its_topic_reads_nothing_outside_the_plan(ways: Ways) -> None:
    ways.start()
    group = next(iter(ways.plan.groups))
    with ways.town.source.member(group, rf"^(target\.)?{ways.t.topic}"):
        findings = look(ways).findings
        told = [f for f in findings if f.id.startswith(("group-reads-outside", "group-topics", "mirror-name"))]
    assert [f.id for f in told] == ["mirror-name/all"], "and its own copies are no strangers"


def look(ways: Ways) -> StepReport:
    return preflight.preflight_report(ways.run())
