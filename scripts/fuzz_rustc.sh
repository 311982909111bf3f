#!/usr/bin/env bash
# The compiler for `scripts/fuzz.sh`: what is ours and what reads foreign bytes counts its steps and compares, so that the fuzzer can find its way.
# Used as RUSTC_WRAPPER: the first argument is the compiler.
set -euo pipefail
name=
previous=
for argument in "$@"; do
    [ "$previous" = --crate-name ] && name=$argument
    previous=$argument
done
counted=" pg_millrace csv json location options secrets delta_log parquet encoding "
case $counted in
*" $name "*)
    exec "$@" -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
        -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares -Clink-dead-code -Ccodegen-units=16
    ;;
*) exec "$@" ;;
esac
