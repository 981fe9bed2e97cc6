#!/bin/sh
# Hands pgbouncer the password by which it looks up all others, then becomes pgbouncer.
set -eu
[ -n "${POOLER_PASSWORD:-}" ] || { echo "pooler: set POOLER_PASSWORD, for the server and for the pooler" >&2; exit 1; }
umask 077
printf '"guestcomms_pooler" "%s"\n' "$(printf '%s' "$POOLER_PASSWORD" | sed 's/"/""/g')" >/run/guestcomms/users.txt
exec pgbouncer /etc/pgbouncer/guestcomms.ini
