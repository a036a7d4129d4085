"""The way back: the Airflow DAG `<plan>.rollback` of every plan, from wherever its migration stands.

A group reads the target to its end before it goes on at the source behind the cutover point, so that nothing is lost.
"""

from airflow_kafka_migration.parts import Steps, rollback_dags
from kafka_migration.plan.graph import Unit
from kafka_migration.sides import Side


def rollback(steps: Steps) -> None:
    if steps.copied_back:
        bring_back(steps)
    elif steps.twice:
        by_second_instances(steps)
    elif steps.strict:
        in_order(steps)
    else:
        at_once(steps)


def in_order(steps: Steps) -> None:
    """Scheme 1 backwards. Producers stay on the target until every consumer reads there."""
    there = steps.toward(Side.TARGET)

    def forth(unit: Unit) -> None:
        there.in_order(
            there.drained(unit),
            there.confirm_drained(unit),
            there.by_hand(unit),
            there.switch(unit),
            there.consuming(unit),
            there.cutover(unit),
        )

    def home(unit: Unit) -> None:
        steps.in_order(
            steps.drained(unit),
            steps.confirm_drained(unit),
            steps.by_hand(unit),
            steps.switch(unit),
            steps.consuming(unit),
            steps.cutover(unit),
        )

    steps.in_order(
        steps.look_back(),
        steps.approve_rollback(),
        steps.stop_history(),
        steps.begin(),
        there.source_point(),
        there.move_readers(forth, "forth"),
        steps.switch_producers(),
        steps.cutover(),
        steps.move_readers(home),
        steps.coverage(),
        steps.evidence(),
        steps.gate(),
        steps.lift_holds(),
    )


def at_once(steps: Steps) -> None:
    """Producers return at once; each consumer reads the rest on the target, and goes there for it where it must."""
    target, there = steps.toward(Side.TARGET), steps.toward(Side.TARGET, "forth_")

    def forth_and_home(unit: Unit) -> None:
        steps.in_order(
            there.drained(unit),
            there.confirm_drained(unit),
            there.by_hand(unit),
            there.switch(unit),
            there.consuming(unit),
            there.cutover(unit),
            steps.drained(unit),
            steps.confirm_drained(unit),
            steps.by_hand(unit),
            steps.switch(unit),
            steps.consuming(unit),
            steps.cutover(unit),
        )

    steps.in_order(
        steps.look_back(),
        steps.approve_rollback(),
        steps.stop_history(),
        steps.begin(),
        target.source_point(),
        steps.switch_producers(),
        steps.cutover(),
        steps.move_readers(forth_and_home),
        steps.coverage(),
        steps.evidence(),
        steps.gate(),
        steps.lift_holds(),
    )


def by_second_instances(steps: Steps) -> None:
    """Scheme 2 backwards: the originals start again, producers return, the second instances drain the target."""

    def start(unit: Unit) -> None:
        steps.in_order(steps.start_by_hand(unit), steps.start(unit), steps.ready(unit))

    def home(unit: Unit) -> None:
        steps.in_order(
            steps.drained(unit),
            steps.confirm_drained(unit),
            steps.close_by_hand(unit),
            steps.close_instances(unit),
            steps.cutover(unit),
        )

    steps.in_order(
        steps.look_back(),
        steps.approve_rollback(),
        steps.stop_history(),
        steps.begin(),
        steps.seconds(start),
        steps.switch_producers(),
        [steps.cutover(), steps.keeping_up()],
        steps.move_readers(home),
        steps.coverage(),
        steps.evidence(),
        steps.gate(),
        steps.lift_holds(),
    )


def bring_back(steps: Steps) -> None:
    """What was produced on the target is copied back; who has gone is handed back, who has not reads on."""

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
        steps.approve_rollback(),
        steps.stop_history(),
        steps.begin(),
        steps.start_mirror(),
        steps.caught_up(),
        steps.rehearse(),
        steps.writers_by_hand(),
        steps.stop_writers(),
        steps.cutovers(),
        steps.stop_mirror(),
        [steps.switch_producers(), steps.move_readers(home)],
        steps.compare_content(),
        steps.evidence(),
        steps.gate(),
        steps.lift_holds(),
    )


for dag in rollback_dags(rollback):
    globals()[dag.dag_id] = dag
