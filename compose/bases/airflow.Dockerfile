# Stands in for apache/airflow: Python, a virtual environment on the path, the user `airflow` (50000, group 0).
# Airflow itself comes from requirements.txt, as it does over the official image.
ARG BASE
FROM ${BASE}
RUN useradd --uid 50000 --gid 0 --create-home airflow && install -d -o airflow -g 0 -m 775 /opt/airflow
ENV AIRFLOW_HOME=/opt/airflow PATH=/home/airflow/venv/bin:/usr/local/bin:/usr/bin:/bin
USER airflow
RUN python3 -m venv /home/airflow/venv
WORKDIR /opt/airflow
ENTRYPOINT ["tini", "--"]
