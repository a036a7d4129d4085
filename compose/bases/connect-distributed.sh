#!/bin/bash
set -euo pipefail
export CLASSPATH="/opt/kafka/libs/*"
exec java ${KAFKA_HEAP_OPTS:--Xmx1G} -XX:+UseSerialGC -XX:TieredStopAtLevel=1 \
    -Dlog4j2.configurationFile=/opt/kafka/config/log4j2.properties \
    org.apache.kafka.connect.cli.ConnectDistributed "$@"
