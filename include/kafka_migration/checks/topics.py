"""Do the plan's topics exist, can the target take them, and is what is there already theirs?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from kafka_migration.checks.scene import Scene
from kafka_migration.findings import Finding, Status
from kafka_migration.offsets import OffsetRange, TopicPartition, Which
from kafka_migration.passes import some
from kafka_migration.topics.create import TopicToCreate, create_topics
from kafka_migration.topics.describe import Topic
from kafka_migration.topics.holds import lifted
from kafka_migration.topics.parity import compare, settings_to_carry
from kafka_migration.visible import first_visible

_STREAMS_INTERNAL = ("-changelog", "-repartition")


def check_topics(scene: Scene) -> list[Finding]:
    findings = [*_there(scene), *_kinds(scene), *_replication(scene), *_parity(scene), *_trial(scene)]
    named = {t for s in scene.run.plan.services for t in (*s.produces, *s.reads)}
    idle = sorted(set(scene.source.topics) - named)
    if idle:
        findings.append(
            Finding(
                "topic-unused/all", Status.PASS, f"no service names {some(idle)}: created on the target, nothing moves"
            )
        )
    return findings


def check_growth(scene: Scene, ends_now: Mapping[TopicPartition, int]) -> list[Finding]:
    """Topics that grow although no service of the plan writes them. `ends_now`: read some time after the scene."""
    plan = scene.run.plan
    before = scene.source.offsets[Which.END]
    grown = sorted(
        {tp.topic for tp, end in ends_now.items() if end > before.get(tp, end) and not plan.writers(tp.topic)}
    )
    return [
        Finding(
            f"unclaimed-writer/{topic}",
            Status.FAIL,
            f"{topic} grows on the source, and no service of the plan says `produces: {topic}`",
            "every writer of a topic is in the plan",
            "name the service that writes it. Kafka keeps no list of writers: ask who holds its address and password,"
            " or watch the brokers' request logs",
        )
        for topic in grown
    ] or [Finding("unclaimed-writer/none", Status.PASS, "no topic grows without a service that claims to write it")]


def creation(topic: Topic) -> TopicToCreate:
    """A topic of the source as it is to be created on the target."""
    return TopicToCreate(topic.name, topic.partitions, topic.replication_factor, settings_to_carry(topic))


def _there(scene: Scene) -> list[Finding]:
    findings = [
        Finding(
            f"topic-exists/{entry}",
            Status.FAIL,
            f"topics.include: {entry} matches no topic of the source",
            "at least one topic",
            "correct the plan; a topic that this user may not describe is not shown either",
        )
        for entry in scene.unmatched
    ]
    named = {t for s in scene.run.plan.services for t in (*s.produces, *s.reads)}
    findings += [
        Finding(
            f"topic-exists/{topic}",
            Status.FAIL,
            f"a service names topic {topic}, which the source does not have",
            "an existing topic",
            "correct the plan; a topic that this user may not describe is not shown either",
        )
        for topic in sorted(named - set(scene.source.topics) - set(scene.unmatched))
    ]
    return findings or [
        Finding(
            "topic-exists/all",
            Status.PASS,
            f"{len(scene.source.topics)} topics, {sum(t.partitions for t in scene.source.topics.values())} partitions",
        )
    ]


def _kinds(scene: Scene) -> Iterable[Finding]:
    """Topics that lose their meaning where no stored message comes along."""
    if scene.run.plan.copies:
        return
    for topic in scene.source.topics.values():
        if topic.name.endswith(_STREAMS_INTERNAL):
            yield Finding(
                f"streams-internal/{topic.name}",
                Status.FAIL,
                f"{topic.name} looks like an internal topic of Kafka Streams",
                "topics that applications read and write",
                "a Streams application keeps state that belongs to its offsets; exclude the topic, let the application"
                " rebuild it on the target, or use a scheme that copies stored messages",
            )
        elif topic.compacted:
            yield Finding(
                f"topic-compacted/{topic.name}",
                Status.WARN,
                f"{topic.name} is compacted: this scheme copies no stored messages",
                "",
                "consumers that rebuild their state from it find the target empty, but for what is written from now on",
            )


def _replication(scene: Scene) -> list[Finding]:
    brokers = len(scene.target.identity.brokers)
    return [
        Finding(
            f"replication-factor/{topic.name}",
            Status.FAIL,
            f"the target has {brokers} brokers",
            f"at least {topic.replication_factor}, the replication factor of {topic.name} on the source",
            "add brokers to the target; a lower replication factor is not chosen silently",
        )
        for topic in scene.source.topics.values()
        if topic.replication_factor > brokers and topic.name not in scene.target.topics
    ] or [Finding("replication-factor/all", Status.PASS, f"the target's {brokers} brokers suffice")]


def _parity(scene: Scene) -> list[Finding]:
    """Existing topics of the target: equal, or created by this pass and not yet corrected; no foreign data.

    Where copies have names of their own the topics of the target are its own.
    """
    if scene.run.plan.prefixed:
        return []
    own = set(scene.current.note("created") or ())
    holds = scene.current.note("holds") or {}
    plan = scene.run.plan
    copies, by_number = plan.copies, plan.copied_back
    findings: list[Finding] = []
    for name, target in scene.target.topics.items():
        if name not in own:
            findings += compare(scene.source.topics[name], lifted(target, holds), by_number, plan.keeps_mirror)
    if not scene.begun:
        foreign = set(scene.target.topics) - own
        ranges = [
            OffsetRange(tp, scene.target.offsets[Which.START][tp], end)
            for tp, end in scene.target.offsets[Which.END].items()
            if tp.topic in foreign
        ]
        filled = {
            tp.topic for tp, seen in first_visible(scene.run.clusters.target, ranges).items() if seen.first is not None
        }
        if scene.current.number == 1:
            findings += [
                Finding(
                    f"topic-foreign-data/{topic}",
                    Status.FAIL if copies else Status.INCONCLUSIVE,
                    f"{topic} holds messages on the target that this plan did not bring there",
                    "an empty topic, or none",
                    "copies would be mixed with them: empty or delete the topic on the target"
                    if copies
                    else "groups are seeded behind them and will not read them. Empty the topic, or accept the finding",
                )
                for topic in sorted(filled)
            ]
    return findings


def _trial(scene: Scene) -> list[Finding]:
    """The target's own answer to creating what is missing, before anything is moved."""
    missing = [creation(t) for name, t in scene.source.topics.items() if name not in scene.target.topics]
    too_many = len(scene.target.identity.brokers)
    asked = [t for t in missing if t.replication_factor <= too_many]
    refusals = create_topics(scene.run.clusters.target, asked, trial=True)
    return [
        Finding(
            f"topic-refused/{topic}",
            Status.FAIL,
            f"the target will not create {topic}: {reason}",
            "created with the source's settings",
            "change what the target's policy or the setting allows",
        )
        for topic, reason in sorted(refusals.items())
    ] or [Finding("topic-trial/all", Status.PASS, f"the target would create the {len(asked)} missing topics")]
