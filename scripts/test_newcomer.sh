#!/usr/bin/env bash
# The first hour of somebody new, on a Debian 12 that has nothing but git, curl, make and sudo: installs Rust, follows README ("In 60 seconds") and
# then the quickstart to the letter, as an ordinary user, and looks with a browser from outside whether merchants update. Says at the end what each
# step took. The system is made anew by debootstrap below MILLRACE_CACHE and is gone afterwards, unless KEEP_NEWCOMER is set. Needs root.
# NEWCOMER_RUST=copy takes this machine's toolchain, for where rustup's server is out of reach; KEEP_NEWCOMER=yes goes on where one ended.
set -euo pipefail
# shellcheck source=scripts/env.sh
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
cd "$ROOT"
root=$MILLRACE_CACHE/bookworm
home=/home/newcomer
clone=$home/pg_millrace

[ "$(id -u)" = 0 ] || fail 'this needs root: it makes a system of its own to run in'
# What is mounted below is seen by this script alone, and gone with it.
if [ -z "${MILLRACE_OWN_MOUNTS:-}" ]; then MILLRACE_OWN_MOUNTS=yes exec unshare --mount --propagation private "$0" "$@"; fi
scripts/setup.sh
browser=$(command -v chromium) || fail 'no chromium here: scripts/setup.sh installs it'
command -v debootstrap >/dev/null || apt-get install -y -qq --no-install-recommends debootstrap >&2
unset CARGO_TARGET_DIR MILLRACE_HOME PG_CONFIG PGRX_PG_CONFIG_PATH

[ -n "${KEEP_NEWCOMER:-}" ] || rm -rf --one-file-system "$root"
if [ ! -e "$root/.millrace" ]; then
    say "Making a Debian 12 in $root"
    debootstrap --variant=minbase --include=git,curl,make,sudo,ca-certificates bookworm "$root" >&2
    cp /etc/resolv.conf "$root/etc/resolv.conf"
    # Whom this machine trusts, which is how it reaches its registries.
    cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"
    chroot "$root" useradd --create-home --shell /bin/bash newcomer
    echo 'newcomer ALL=(ALL) NOPASSWD: ALL' >"$root/etc/sudoers.d/newcomer"
    touch "$root/.millrace"
fi
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
newcomer() { chroot "$root" env -i HOME=$home USER=newcomer TERM=dumb LANG=C.UTF-8 setpriv --reuid newcomer --regid newcomer --init-groups bash -lc "cd; $1"; }
in_clone() { newcomer "cd pg_millrace; $1"; }

steps=()
step() { # step WHAT COMMAND…
    local what=$1 begun=$SECONDS
    shift
    say "$what"
    "$@" || fail "$what failed"
    steps+=("$(printf '%5d s  %s' $((SECONDS - begun)) "$what")")
}
processes=()
finish() {
    trap - EXIT
    for process in "${processes[@]}"; do kill -INT -- "-$process" 2>/dev/null || true; done
    for process in "${processes[@]}"; do wait "$process" 2>/dev/null || true; done
    in_clone 'if [ -x scripts/cluster.sh ]; then scripts/cluster.sh stop; fi' >/dev/null 2>&1 || true
    [ -n "${KEEP_NEWCOMER:-}" ] || { umount -l "$root/dev" "$root/proc" && rm -rf --one-file-system "$root"; }
}
trap finish EXIT

install_rust() {
    if newcomer 'command -v cargo' >/dev/null; then return; fi
    if [ "${NEWCOMER_RUST:-}" != copy ]; then
        newcomer "curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y --profile minimal"
        return
    fi
    local channel toolchain
    channel=$(sed -n 's/^channel = "\(.*\)"/\1/p' rust-toolchain.toml)
    toolchain=$(rustc "+$channel" --print sysroot)
    mkdir -p "$root$home/.cargo/bin" "$root$home/.rustup/toolchains"
    cp -a "$(dirname "$(command -v cargo)")"/* "$root$home/.cargo/bin/"
    rm -f "$root$home/.cargo/bin/cargo-pgrx"
    cp -a "$(readlink -f "$toolchain")" "$root$home/.rustup/toolchains/$(basename "$toolchain")"
    # shellcheck disable=SC2016 # for the newcomer's shell
    echo 'PATH=$HOME/.cargo/bin:$PATH' >>"$root$home/.profile"
    chroot "$root" chown -R newcomer: "$home"
}
get_clone() {
    [ ! -d "$root$clone" ] || return 0
    git clone --quiet --depth 1 "file://$ROOT" "$root$clone"
    chroot "$root" chown -R newcomer: "$clone"
}
# What README shows under its first heading for a shell, without the comments.
readme_commands() { sed -n '/^## In 60 seconds/,/^## A walk/{/^```sh/,/^```$/p}' README.md | sed '/^```/d; s/ *#.*//'; }
# What the quickstart tells to do in a shell.
quickstart_commands() { sed -n '/^```sh/,/^```$/p' docs/quickstart.md | sed '/^```/d; s/ *#.*//'; }

# in_background COMMAND LOG: a process group of its own, ended like by Ctrl-C
in_background() {
    # shellcheck disable=SC2016 # for the inner shell
    setsid chroot "$root" env -i HOME=$home USER=newcomer TERM=dumb LANG=C.UTF-8 setpriv --reuid newcomer --regid newcomer --init-groups \
        bash -lc "cd; cd pg_millrace; exec $1" >"$2" 2>&1 </dev/null &
    processes+=($!)
}
end_background() {
    kill -INT -- "-${processes[-1]}" 2>/dev/null || true
    wait "${processes[-1]}" 2>/dev/null || true
    unset 'processes[-1]'
}
wait_for_page() { # wait_for_page LOG
    until curl -sf http://127.0.0.1:8642/ >/dev/null; do
        kill -0 "${processes[-1]}" 2>/dev/null || { cat "$1" >&2; fail 'the dashboard ended'; }
        sleep 0.5
    done
}
see_merchants() {
    NODE_PATH=$NODE_MODULES/node_modules node pg_test/newcomer/see.cjs "$browser" http://127.0.0.1:8642/ "$root/tmp/profile" "$root/tmp/page.png"
    rm -rf "$root/tmp/profile"
}

step 'install Rust' install_rust
step 'clone' get_clone
while IFS= read -r command; do
    case $command in
    'make dashboard')
        log=$root/tmp/dashboard.log
        in_background "$command" "$log"
        # Its own build counts as a build.
        step "$command, until the page answers" wait_for_page "$log"
        step 'merchants update in the browser' see_merchants
        end_background
        ;;
    'make test') ;; # what scripts/test.sh does is run by the project's own checks
    'make '*)
        step "build, for $command" in_clone "${command/demo/install}"
        step "$command" in_clone "$command"
        ;;
    *) fail "README shows a command that no newcomer's step is made of: $command" ;;
    esac
done < <(readme_commands)

while IFS= read -r command; do
    step "quickstart: $command" in_clone "$command"
done < <(quickstart_commands)
step 'quickstart: make cluster' in_clone 'make cluster'
quickstart() {
    { cat pg_test/docs/wait_for.sql; python3 scripts/docs/blocks.py docs/quickstart.md; } >"$root/tmp/quickstart.sql"
    in_clone 'PSQLRC=/dev/null PGOPTIONS="-c client_min_messages=warning" make --silent psql < /tmp/quickstart.sql' >"$root/tmp/quickstart.out" 2>&1 || true
    if grep -q 'ERROR\|FATAL' "$root/tmp/quickstart.out" || ! grep -q 'billing\|acked' "$root/tmp/quickstart.out"; then
        tail -n 60 "$root/tmp/quickstart.out" >&2
        return 1
    fi
}
step 'quickstart: its SQL' quickstart
log=$root/tmp/serve.log
in_background 'scripts/dashboard.sh serve millrace' "$log"
step 'quickstart: scripts/dashboard.sh serve millrace' wait_for_page "$log"
more() { in_clone "for i in \$(seq 20); do echo \"SELECT count(*) FROM millrace.simulate('transactions', 'file:///srv/landing', files => 1, seed => 1000 + \$i)\" | make --silent psql || exit; sleep 1; done" >/dev/null 2>&1; }
more &
landing=$!
step 'quickstart: merchants update in the browser while more files land' see_merchants
wait "$landing" || true
end_background
step 'make stop' in_clone 'make stop'
say 'What it took'
printf '%s\n' "${steps[@]}"
