# Airflow with this project: its requirements, DAGs, plugin and packages. Used by docker-compose.yaml and for clusters.
# The base is the official image of the version in requirements.txt; any image with that Python and the user 50000:0,
# whose `airflow` and `pip` are on the path, serves as well.
ARG AIRFLOW_IMAGE=apache/airflow:3.3.2-python3.11
FROM ${AIRFLOW_IMAGE}

# The lock names everything: nothing is resolved here.
COPY requirements.txt /tmp/requirements.txt
RUN pip install --no-cache-dir --disable-pip-version-check --quiet --no-deps --require-hashes -r /tmp/requirements.txt

USER root
# A volume that is new takes its owner from the folder that it covers.
RUN for folder in logs evidence private; do install -d -o 50000 -g 0 -m 770 /opt/airflow/$folder; done \
    && install -d -o 50000 -g 0 -m 770 /opt/shop
USER 50000

COPY --chown=50000:0 compose /opt/airflow/compose
COPY --chown=50000:0 plugins /opt/airflow/plugins
COPY --chown=50000:0 include /opt/airflow/include
COPY --chown=50000:0 dags /opt/airflow/dags
ENV PYTHONPATH=/opt/airflow/include
