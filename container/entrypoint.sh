#!/bin/sh
# Makes the cluster and its store where there are none yet, then becomes the server. Arguments are the server's, for
# example `-c work_mem=32MB`. The first start needs POSTGRES_PASSWORD or POSTGRES_PASSWORD_FILE for the superuser; with
# POOLER_PASSWORD or POOLER_PASSWORD_FILE it makes the login of container/pooler too.
set -eu

scripts=/usr/local/share/guestcomms

fail() {
    echo "guestcomms: $*" >&2
    exit 1
}

# secret NAME: the value of the variable, or what the file holds that NAME_FILE names.
secret() {
    eval "value=\${$1:-} file=\${$1_FILE:-}"
    if [ -n "$file" ]; then
        [ -r "$file" ] || fail "$1_FILE names $file, which the user $(id -un) cannot read"
        value=$(cat "$file")
    fi
    printf '%s' "$value"
}

settings() {
    cat <<'CONF'

# The image's own; ALTER SYSTEM and the container's arguments go before these.
listen_addresses = '*'
shared_preload_libraries = 'pg_cron,pg_stat_statements'
cron.database_name = 'postgres'
# pg_cron connects as a client does, so that a long job delays no other.
cron.host = '/var/run/postgresql'
CONF
}

access() {
    cat <<'CONF'
# By the socket come the container's own processes: whoever may run commands in here, and the jobs that pg_cron starts.
local  all          postgres,guestcomms_jobs       peer  map=container
local  replication  postgres                       peer  map=container
local  all          all                            scram-sha-256
host   all          all                       all  scram-sha-256
host   replication  all                       all  scram-sha-256
CONF
}

identities() {
    cat <<'CONF'
container  postgres  postgres
container  postgres  guestcomms_jobs
CONF
}

run_sql() {
    psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --output=/dev/null --file="$scripts/$1"
}

# Under another name until it is complete: a start that was cut short begins anew.
make_cluster() (
    password=$(secret POSTGRES_PASSWORD)
    POOLER_PASSWORD=$(secret POOLER_PASSWORD)
    [ -n "$password" ] || fail "the first start needs a password for the superuser: set POSTGRES_PASSWORD or POSTGRES_PASSWORD_FILE"
    [ -w "${PGDATA%/*}" ] || fail "the user $(id -un) ($(id -u)) cannot write to ${PGDATA%/*}"
    final=$PGDATA PGDATA=$PGDATA.part
    export PGDATA POOLER_PASSWORD
    rm -rf "$PGDATA"
    printf '%s\n' "$password" | initdb --username=postgres --pwfile=/dev/stdin --auth-local=peer --auth-host=scram-sha-256 \
        --encoding=UTF8 --locale=C.UTF-8 --data-checksums --no-instructions
    settings >>"$PGDATA/postgresql.conf"
    access >"$PGDATA/pg_hba.conf"
    identities >>"$PGDATA/pg_ident.conf"
    pg_ctl start --wait --silent --options="-c listen_addresses="
    run_sql store.sql
    [ -z "$POOLER_PASSWORD" ] || run_sql pooler.sql
    pg_ctl stop --wait --silent --mode=fast
    mv "$PGDATA" "$final"
)

[ -s "$PGDATA/PG_VERSION" ] || make_cluster
# What the server needs not know, no PL/Python function should find in its environment.
unset POSTGRES_PASSWORD POSTGRES_PASSWORD_FILE POOLER_PASSWORD POOLER_PASSWORD_FILE
exec postgres "$@"
