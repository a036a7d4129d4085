"""A mirror that is kept: the Airflow DAG `<plan>.mirror` of every plan with `scheme: mirror`, again every few minutes.

It lets MirrorMaker run as the plan has it and watches it until the next run does. It moves nobody, and stands back
while services follow the mirror to the target or come back.
"""

from airflow_kafka_migration.parts import Steps, kept_mirror_dags
from kafka_migration.purposes import MIRROR


def mirror(steps: Steps) -> None:
    steps.in_order(
        steps.keep_preflight(),
        steps.keep_topics(),
        steps.keep_mirror(),
        steps.watch(),
        steps.evidence(),
        steps.gate(),
    )


for dag in kept_mirror_dags(MIRROR, mirror):
    globals()[dag.dag_id] = dag
