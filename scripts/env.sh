# shellcheck shell=bash
# What every script here agrees on: where things are, and as whom the server runs. Sourced, never run.
# shellcheck disable=SC2034 # used by those that source it
# Everything can be set from outside; nothing is written inside the clone.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

: "${PG_CONFIG:=/usr/lib/postgresql/15/bin/pg_config}"
: "${MILLRACE_CACHE:=${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/pg_millrace}"
: "${CARGO_TARGET_DIR:=$MILLRACE_CACHE/target}"
# The socket's path has a limit of about a hundred bytes, so this one is short.
: "${MILLRACE_HOME:=/tmp/pg_millrace-$(id -u)}"

# pgrx finds Postgres by this variable alone; with it there is no need for `cargo pgrx init`.
PGRX_PG_CONFIG_PATH=$PG_CONFIG
export PG_CONFIG MILLRACE_CACHE CARGO_TARGET_DIR MILLRACE_HOME PGRX_PG_CONFIG_PATH

VENV=$MILLRACE_CACHE/venv
AZURITE=$MILLRACE_CACHE/azurite
NODE_MODULES=$MILLRACE_CACHE/node

say() { printf '==> %s\n' "$*" >&2; }
fail() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

# The private server, until the script ends: one that ran before goes on.
borrow_server() {
    "$ROOT/scripts/cluster.sh" status >/dev/null 2>&1 || trap '"$ROOT/scripts/cluster.sh" stop' EXIT
    "$ROOT/scripts/cluster.sh" start >/dev/null
}

bindir() { "$PG_CONFIG" --bindir; }

# Postgres refuses to run as root.
if [ "$(id -u)" = 0 ]; then SERVER_USER=postgres; else SERVER_USER=$(id -un); fi
as_server() { (
    cd /
    if [ "$(id -u)" = 0 ]; then exec runuser -u "$SERVER_USER" -- "$@"; else exec "$@"; fi
); }

# Directories below MILLRACE_HOME belong to the server's user; the top one to whoever runs the scripts.
# /tmp is everybody's: a directory that somebody else made there first is not to be trusted.
make_home() {
    mkdir -p "$MILLRACE_HOME"
    [ -O "$MILLRACE_HOME" ] || fail "$MILLRACE_HOME belongs to somebody else; set MILLRACE_HOME to another place"
    chmod 755 "$MILLRACE_HOME"
}
make_server_dir() { # make_server_dir MODE DIR…
    local mode=$1 dir
    shift
    for dir in "$@"; do
        mkdir -p "$dir"
        if [ "$(id -u)" = 0 ]; then chown "$SERVER_USER": "$dir"; fi
        chmod "$mode" "$dir"
    done
}
