"""The part of scheme 1 in which many services wait at once, made of the product's own steps: nobody moves."""

from airflow_kafka_migration.parts import Steps, migration_dags


def draining(steps: Steps) -> None:
    steps.in_order(
        steps.preflight(),
        steps.create_topics(),
        steps.seed_groups(),
        steps.cutover(),
        steps.move_readers(lambda unit: steps.in_order(steps.drained(unit))),
        steps.evidence(),
    )


for dag in migration_dags("producers_first", draining):
    globals()[dag.dag_id] = dag
