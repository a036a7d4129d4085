"""Scheme 1, producers first: the Airflow DAG `<plan>.migrate` of every plan with `scheme: producers_first`.

Order holds, the price is waiting: producers move to the target, every consumer group drains the source, consumers move.
"""

from airflow_kafka_migration.parts import Steps, migration_dags
from kafka_migration.plan.graph import Unit


def producers_first(steps: Steps) -> None:
    def move(unit: Unit) -> None:
        steps.in_order(
            steps.drained(unit),
            steps.confirm_drained(unit),
            steps.approve_consumers(unit),
            steps.by_hand(unit),
            steps.switch(unit),
            steps.consuming(unit),
            steps.cutover(unit),
        )

    steps.in_order(
        steps.preflight(),
        steps.approve_topics(),
        steps.create_topics(),
        steps.start_history(),
        steps.seed_groups(),
        steps.approve_producers(),
        steps.compare_topics(),
        steps.switch_producers(),
        steps.cutover(),
        steps.move_readers(move),
        [steps.coverage(), steps.history()],
        steps.evidence(),
        steps.gate(),
        steps.lift_holds(),
    )


for dag in migration_dags("producers_first", producers_first):
    globals()[dag.dag_id] = dag
