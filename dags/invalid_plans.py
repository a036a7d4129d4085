"""The Airflow DAG `<name>.migrate` of every plan file that does not load: it shows the file, the key and the reason."""

from airflow_kafka_migration.parts import invalid_plan_dags

for dag in invalid_plan_dags():
    globals()[dag.dag_id] = dag
