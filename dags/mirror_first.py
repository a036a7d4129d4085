"""Scheme mirror first: the Airflow DAG `<plan>.migrate` of every plan with `scheme: mirror_first`.

The stored messages come along: MirrorMaker 2 copies them under the same names while everything runs. Then the writers
stop, the mirror reaches the end, and every group goes on at exactly the message that it would have read next.
"""

from airflow_kafka_migration.parts import Steps, migration_dags
from kafka_migration.plan.graph import Unit


def mirror_first(steps: Steps) -> None:
    def move(unit: Unit) -> None:
        steps.in_order(
            steps.export_offsets(unit),
            steps.approve_consumers(unit),
            steps.stop_by_hand(unit),
            steps.hand_over(unit),
            steps.set_offsets(unit),
            steps.by_hand(unit),
            steps.start_there(unit),
            steps.consuming(unit),
        )

    steps.in_order(
        steps.preflight(),
        steps.approve_topics(),
        steps.create_topics(),
        steps.hold_retention(),
        steps.start_mirror(),
        steps.caught_up(),
        steps.rehearse(),
        steps.verify_synchronisation(),
        steps.approve_handover(),
        steps.compare_topics(),
        steps.writers_by_hand(),
        steps.stop_writers(),
        steps.cutover(),
        steps.stop_mirror(),
        [steps.switch_producers(), steps.move_readers(move)],
        steps.compare_content(),
        steps.evidence(),
        steps.gate(),
        steps.lift_holds(),
    )


for dag in migration_dags("mirror_first", mirror_first):
    globals()[dag.dag_id] = dag
