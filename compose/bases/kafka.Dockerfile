# Stands in for apache/kafka: settings come as KAFKA_* variables, the programs lie in /opt/kafka/bin.
ARG BASE
FROM ${BASE}
RUN useradd --uid 1000 --create-home appuser \
    && install -d -o appuser -g appuser /var/lib/kafka/data /opt/kafka/bin /opt/kafka/config
COPY java /opt/java
COPY jars /opt/kafka/libs
COPY kafka-run.sh /etc/kafka/docker/run
COPY connect-distributed.sh /opt/kafka/bin/connect-distributed.sh
COPY log4j2.properties /opt/kafka/config/
ENV PATH=/opt/java/bin:/usr/local/bin:/usr/bin:/bin
USER appuser
CMD ["/etc/kafka/docker/run"]
