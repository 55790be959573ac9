#!/bin/sh
# Makes the secrets of an installation in the folder $1, those that are missing; what is there is never touched: put your own
# database_url and redis_url there first, if you have them. As root the files become their readers' own: OWNER,
# POSTGRES_OWNER. The defaults are those of compose.yaml.
set -eu
umask 077
cd "${1:?the folder}"
OWNER=${OWNER:-10001:10001}
POSTGRES_OWNER=${POSTGRES_OWNER:-999:999}
POSTGRES_HOST=${POSTGRES_HOST:-postgres}
VALKEY_HOST=${VALKEY_HOST:-valkey}

hex() { od -An -N"$1" -tx1 /dev/urandom | tr -d ' \n'; }
# URL-safe base64 of 32 bytes, as Fernet wants it.
fernet() { head -c 32 /dev/urandom | base64 | tr '+/' '-_' | tr -d '\n'; }
make() { # name, content: written aside first, so that a stop in the middle leaves no half of it
    [ ! -e "$1" ] || return 0
    printf '%s' "$2" >".$1.new"
    mv ".$1.new" "$1"
    echo "made $1"
}

make postgres_password "$(hex 24)"
make valkey_password "$(hex 24)"
make secret_key "$(hex 32)"
make encryption_keys "$(fernet)"
make metrics_token "$(hex 24)"
make database_url "postgresql://tokenhub:$(cat postgres_password)@$POSTGRES_HOST:5432/tokenhub"
make redis_url "redis://:$(cat valkey_password)@$VALKEY_HOST:6379/0"
make valkey.conf "requirepass $(cat valkey_password)
save \"\"
appendonly no
maxmemory 256mb
maxmemory-policy noeviction"
chmod 0400 ./*
[ "$(id -u)" = 0 ] || exit 0
# Read by tokenhub's and Valkey's user, and one of them by PostgreSQL's, as its image has it.
chown "$OWNER" ./*
chown "$POSTGRES_OWNER" postgres_password
chmod 0755 .
