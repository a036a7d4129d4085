#!/bin/sh
# Makes the four images that the compose file is based on, where no image registry can be reached: from Debian's
# packages (debootstrap, as root), and from Kafka's jars and the Java runtime of this checkout's environment.
# What is there already is not made again. Run by `make compose-check`; PYTHON is that environment's.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
made=$(mktemp -d)
trap 'rm -rf "$made"' EXIT
name=kafka-migration-local

there() { docker image inspect "$1" >/dev/null 2>&1; }
build() { # what [build argument...]
    what=$1; shift
    there "$name/$what" && return
    echo "building $name/$what"
    docker build --quiet --network host --build-arg "BASE=$1" --tag "$name/$what" --file "$here/$what.Dockerfile" "$made" >/dev/null
}

if ! there "$name/debian"; then
    command -v debootstrap >/dev/null || { echo "debootstrap is missing: apt-get install debootstrap" >&2; exit 1; }
    echo "making a Debian system (about two minutes)"
    debootstrap --variant=minbase --include=ca-certificates,python3,python3-venv,python3-pip,tini \
        "${DEBIAN_RELEASE:-bookworm}" "$made/root" ${DEBIAN_MIRROR:+"$DEBIAN_MIRROR"} >"$made/log" 2>&1 ||
        { tail -20 "$made/log" >&2; exit 1; }
    tar -C "$made/root" -c . | docker import - "$name/debian" >/dev/null
    rm -rf "$made/root"
fi
cp "$here"/*.sh "$here"/*.properties "$made"
cp -L "${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}" "$made/ca-certificates.crt"
build base "$name/debian"
build airflow "$name/base"
build postgres "$name/base"
build redis "$name/base"
if ! there "$name/kafka"; then
    PYTHONPATH="$here/../../include" "$PYTHON" - "$made" <<'PYTHON'
import shutil, sys
from pathlib import Path
from demo.jars import java, kafka_classpath
made = Path(sys.argv[1])
(made / "jars").mkdir()
for jar in kafka_classpath().split(":"):
    shutil.copy(jar, made / "jars")
shutil.copytree(java().parents[1], made / "java", symlinks=True)
PYTHON
    build kafka "$name/base"
fi
