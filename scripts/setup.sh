#!/usr/bin/env bash
# Installs what building and testing need and the machine lacks: Debian packages, cargo-pgrx, a Python venv
# with the deltalake package (the outsider that reads our tables in the tests) and moto (the tests' S3), and Azurite (the lake of the tests that is
# no disk), a browser and what drives it (the dashboard), and clients of the examples; `setup.sh build` leaves these out, `setup.sh azurite` all
# but Azurite.
# Never touches what is there, and never lets Debian start a cluster of its own.
set -euo pipefail
# shellcheck source=scripts/env.sh
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

PGRX_VERSION=0.18.1
AZURITE_VERSION=3.34.0
packages=(build-essential pkg-config libssl-dev clang libclang-dev postgresql-15 postgresql-server-dev-15 postgresql-15-cron postgresql-15-hll postgresql-15-pgq3 python3-venv python3-psycopg python3-yaml pgbouncer openssl)

# What tests alone need: a browser, a checker of shell scripts, clients that read our tables.
if [ "${1:-all}" = all ]; then packages+=(chromium fonts-dejavu-core curl shellcheck python3-sqlalchemy python3-psycopg2); fi
# Azurite needs Node.js; any that is there will do, Debian's else.
if [ "${1:-all}" != build ] && ! command -v npm >/dev/null; then packages+=(nodejs npm); fi

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"
    elif command -v sudo >/dev/null; then sudo "$@"
    else fail "this needs root and there is no sudo: $*"; fi
}

missing_packages() {
    command -v dpkg-query >/dev/null || return 0
    local have
    have=$(dpkg-query -W -f='${db:Status-Status} ${Package}\n' "${packages[@]}" 2>/dev/null || true)
    local package
    for package in "${packages[@]}"; do
        grep -qx "installed $package" <<<"$have" || echo "$package"
    done
}

install_packages() {
    local missing
    mapfile -t missing < <(missing_packages)
    [ ${#missing[@]} -gt 0 ] || return 0
    command -v apt-get >/dev/null || fail "not a Debian system: install the equivalents of ${missing[*]} and set PG_CONFIG"
    say "Installing Debian packages: ${missing[*]}"
    local dropin=/etc/postgresql-common/createcluster.d/pg_millrace.conf
    as_root mkdir -p "${dropin%/*}"
    echo 'create_main_cluster = false' | as_root tee "$dropin" >/dev/null
    as_root apt-get update -qq
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2
    as_root rm -f "$dropin"
}

install_pgrx() {
    command -v cargo >/dev/null || fail "cargo is not on the PATH: install Rust from https://rustup.rs"
    [ "$(cargo pgrx --version 2>/dev/null)" = "cargo-pgrx $PGRX_VERSION" ] && return 0
    say "Building cargo-pgrx $PGRX_VERSION (about 5 minutes, once)"
    cargo install cargo-pgrx --version "$PGRX_VERSION" --locked >&2
}

install_venv() {
    local want="deltalake==1.6.6 pyarrow==26.0.1 moto[server]==5.2.5"
    [ "$(cat "$VENV/.millrace" 2>/dev/null)" = "$want" ] && return 0
    say "Making a Python venv with $want in $VENV"
    local python=/usr/bin/python3
    [ -x "$python" ] || python=python3
    rm -rf "$VENV"
    mkdir -p "$MILLRACE_CACHE"
    "$python" -m venv "$VENV"
    # shellcheck disable=SC2086 # requirements, a word each
    "$VENV/bin/pip" install -q --disable-pip-version-check $want >&2
    echo "$want" >"$VENV/.millrace"
}

install_azurite() {
    local want=$AZURITE_VERSION
    [ "$(cat "$AZURITE/.millrace" 2>/dev/null)" = "$want" ] && return 0
    say "Installing Azurite $want in $AZURITE"
    mkdir -p "$AZURITE"
    npm install --prefix "$AZURITE" --no-audit --no-fund --loglevel error "azurite@$want" >&2
    echo "$want" >"$AZURITE/.millrace"
}

# For tests: a driver of the browser, and the client that the Node example uses.
install_node_modules() {
    local want="playwright-core@1.65.1 pg@8.23.1"
    [ "$(cat "$NODE_MODULES/.millrace" 2>/dev/null)" = "$want" ] && return 0
    say "Installing $want in $NODE_MODULES"
    mkdir -p "$NODE_MODULES"
    # shellcheck disable=SC2086 # packages, a word each
    npm install --prefix "$NODE_MODULES" --no-audit --no-fund --ignore-scripts --loglevel error $want >&2
    echo "$want" >"$NODE_MODULES/.millrace"
}

install_packages
[ -x "$PG_CONFIG" ] || fail "no pg_config at $PG_CONFIG; set PG_CONFIG"
install_pgrx
case ${1:-all} in
build) ;;
azurite) install_azurite ;;
*)
    install_venv
    install_azurite
    install_node_modules
    ;;
esac
