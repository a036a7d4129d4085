"""Scheme 2, producers later: the Airflow DAG `<plan>.migrate` of every plan with `scheme: producers_later`.

Low latency, the price is order: second consumers start on the target, producers move, the source is drained, the
originals are closed.
"""

from airflow_kafka_migration.parts import Steps, migration_dags
from kafka_migration.plan.graph import Unit


def producers_later(steps: Steps) -> None:
    def start(unit: Unit) -> None:
        steps.in_order(steps.start_by_hand(unit), steps.start(unit), steps.ready(unit))

    def move(unit: Unit) -> None:
        steps.in_order(
            steps.drained(unit),
            steps.confirm_drained(unit),
            steps.approve_close(unit),
            steps.close_by_hand(unit),
            steps.close_instances(unit),
            steps.cutover(unit),
        )

    steps.in_order(
        steps.preflight(),
        steps.approve_topics(),
        steps.create_topics(),
        steps.start_history(),
        steps.seed_groups(),
        steps.seconds(start),
        steps.approve_producers(),
        steps.compare_topics(),
        steps.switch_producers(),
        [steps.cutover(), steps.keeping_up()],
        steps.move_readers(move),
        [steps.coverage(), steps.history()],
        steps.evidence(),
        steps.gate(),
        steps.lift_holds(),
    )


for dag in migration_dags("producers_later", producers_later):
    globals()[dag.dag_id] = dag
