#!/bin/bash
# KAFKA_SOME_NAME becomes some.name, as in the official image; an empty storage is formatted with CLUSTER_ID.
set -euo pipefail
properties=/tmp/server.properties
env | sed -n 's/^KAFKA_\([A-Z0-9_]*\)=\(.*\)$/\1 \2/p' | while read -r name value; do
    case $name in HEAP_OPTS | OPTS | JVM_PERFORMANCE_OPTS | LOG4J_OPTS) continue ;; esac
    printf '%s=%s\n' "$(printf %s "$name" | tr 'A-Z_' 'a-z.')" "$value"
done >"$properties"
export CLASSPATH="/opt/kafka/libs/*"
logging=-Dlog4j2.configurationFile=/opt/kafka/config/log4j2.properties
java -Xmx256m $logging kafka.tools.StorageTool format --ignore-formatted \
    --cluster-id "$CLUSTER_ID" --config "$properties"
exec java ${KAFKA_HEAP_OPTS:--Xmx1G} -XX:+UseSerialGC -XX:TieredStopAtLevel=1 $logging kafka.Kafka "$properties"
