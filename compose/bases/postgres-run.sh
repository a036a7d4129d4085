#!/bin/bash
# An empty data folder is made with the user, password and database of the environment, as by the official image.
set -euo pipefail
export PATH="$PATH:$(echo /usr/lib/postgresql/*/bin)"
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    initdb --username="$POSTGRES_USER" --auth-host=scram-sha-256 --auth-local=trust --encoding=UTF8 \
        --locale=C.UTF-8 --pwfile=<(printf '%s\n' "$POSTGRES_PASSWORD") >/dev/null
    echo "host all all all scram-sha-256" >>"$PGDATA/pg_hba.conf"
    pg_ctl -w -o "-c listen_addresses=''" start >/dev/null
    [ "$POSTGRES_DB" = postgres ] || createdb --username="$POSTGRES_USER" "$POSTGRES_DB"
    pg_ctl -w stop >/dev/null
fi
exec "$@" -c "listen_addresses=*" -c unix_socket_directories=/var/run/postgresql,/tmp
