"""A mirror that is kept, used: the Airflow DAGs `<plan>.failover`, `<plan>.failback` and `<plan>.drill`.

Of every plan with `scheme: mirror`. When the source is lost services follow the mirror; when it has returned they come
back; and a drill practises the loss on copies of the groups, without touching a service.
"""

from airflow_kafka_migration.parts import Steps, kept_mirror_dags
from kafka_migration.plan.graph import Unit
from kafka_migration.sides import Side


def failover(steps: Steps) -> None:
    """Nothing here needs the source."""

    def follow(unit: Unit) -> None:
        steps.in_order(steps.set_offsets(unit), steps.by_hand(unit), steps.follow(unit), steps.consuming(unit))

    steps.in_order(
        steps.look_at_survivor(),
        steps.approve_failover(),
        steps.stop_flow(),
        steps.set_groups(),
        [steps.switch_producers(), steps.move_readers(follow)],
        steps.evidence(),
        steps.gate(),
    )


def failback(steps: Steps) -> None:
    if steps.both_ways:
        side_by_side(steps)
    else:
        behind_the_tail(steps)


def behind_the_tail(steps: Steps) -> None:
    """As a rollback of `mirror_first`, behind what the source had taken and nobody had copied."""
    there = steps.toward(Side.TARGET)

    def home(unit: Unit) -> None:
        steps.in_order(
            steps.export_offsets(unit),
            steps.stop_by_hand(unit),
            steps.hand_over(unit),
            steps.set_offsets(unit),
            steps.by_hand(unit),
            steps.start_there(unit),
            steps.consuming(unit),
        )

    steps.in_order(
        steps.look_back(),
        steps.begin(),
        there.tail(),
        steps.start_home(),
        steps.caught_up(),
        steps.past_failover(),
        steps.rehearse(),
        steps.approve_handover(),
        steps.writers_by_hand(),
        steps.stop_writers(),
        steps.cutovers(),
        steps.stop_mirror(),
        [steps.switch_producers(), steps.move_readers(home)],
        steps.compare_content(),
        there.compare_followed(),
        steps.evidence(),
        steps.gate(),
    )


def side_by_side(steps: Steps) -> None:
    """Names keep apart what was written here and there: both mirrors go on, and are compared by the verification."""
    there = steps.toward(Side.TARGET, "there_")

    def home(unit: Unit) -> None:
        steps.in_order(
            steps.export_offsets(unit),
            steps.stop_by_hand(unit),
            steps.hand_over(unit),
            steps.set_offsets(unit),
            steps.by_hand(unit),
            steps.start_there(unit),
            steps.consuming(unit),
        )

    steps.in_order(
        steps.look_back(),
        steps.begin(),
        steps.start_mirror(),
        [steps.caught_up(), there.caught_up()],
        steps.rehearse(),
        steps.approve_handover(),
        steps.writers_by_hand(),
        steps.stop_writers(),
        [steps.copied(), there.copied()],
        [steps.switch_producers(), steps.move_readers(home)],
        steps.evidence(),
        steps.gate(),
    )


def drill(steps: Steps) -> None:
    """No service is touched, no group that anybody uses."""
    steps.in_order(steps.look_at_drill(), steps.drill(), steps.evidence(), steps.gate())


for purpose, build, heading in (
    ("failover", failover, Side.TARGET),
    ("failback", failback, Side.SOURCE),
    ("drill", drill, Side.TARGET),
):
    for dag in kept_mirror_dags(purpose, build, heading):
        globals()[dag.dag_id] = dag
