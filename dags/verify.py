"""Proof again: the Airflow DAG `<plan>.verify` of every plan, for as long as both clusters exist. It changes nothing.

It runs by hand, and where the plan has `verify:` at its times and after every migration and rollback.
"""

from airflow_kafka_migration.parts import Steps, verification_dags


def verify(steps: Steps) -> None:
    proofs = []
    for way in steps.ways():
        ranges, proof = way.ranges(), way.proof()
        way.in_order(ranges, way.compare(ranges), proof)
        proofs.append(proof)
    steps.in_order([steps.drift(), *proofs, steps.suites()], steps.evidence(), steps.gate())


for dag in verification_dags(verify):
    globals()[dag.dag_id] = dag
