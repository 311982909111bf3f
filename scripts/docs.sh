#!/usr/bin/env bash
# The documentation: `docs.sh` renews what is generated from the catalog and the sources, the picture that a test takes and the page of rights
# that one measures, checks the links and makes the book;
# `docs.sh book DIRECTORY` only makes the book, where mdbook is there already, and checks its links;
# `docs.sh print reference|configuration URI`, `docs.sh print errors`, `docs.sh print picture FILE` print one generated part.
set -euo pipefail
# shellcheck source=scripts/env.sh
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
cd "$ROOT"
MDBOOK_VERSION=0.5.4
ask() { "$(bindir)/psql" -XqAt -v ON_ERROR_STOP=1 -d "$1" "${@:2}"; }

print_part() {
    case $1 in
    reference) ask "$2" -f scripts/docs/reference.sql | python3 scripts/docs/reference.py ;;
    configuration) ask "$2" -c 'SELECT millrace.library_version()' \
        -c "SELECT jsonb_agg(to_jsonb(s) ORDER BY name) FROM pg_settings s WHERE name LIKE 'millrace.%'" | tail -n 1 | python3 scripts/docs/settings.py ;;
    errors) python3 scripts/docs/errors.py ;;
    picture) python3 scripts/docs/picture.py "$2" ;;
    *) fail "there is no part $1" ;;
    esac
}

have_mdbook() {
    for mdbook in "$(command -v mdbook || true)" "$MILLRACE_CACHE/mdbook/bin/mdbook"; do
        if [ -x "$mdbook" ]; then return 0; fi
    done
    return 1
}
find_mdbook() {
    if have_mdbook; then return; fi
    say "Building mdbook $MDBOOK_VERSION (a few minutes, once)"
    CARGO_TARGET_DIR=$MILLRACE_CACHE/mdbook/target cargo install mdbook --version "$MDBOOK_VERSION" --locked --no-default-features --features search \
        --root "$MILLRACE_CACHE/mdbook" >&2
    rm -rf "$MILLRACE_CACHE/mdbook/target"
}

make_book() { # make_book DIRECTORY
    local staged=$1-source book=$1
    rm -rf "$staged" "$book"
    cp -R docs "$staged"
    "$mdbook" build "$staged" -d "$book"
    rm -rf "$staged"
    python3 scripts/docs/book_links.py "$book"
    echo "$book/index.html"
}

if [ "${1:-}" = print ]; then
    print_part "${@:2}"
    exit
fi
if [ "${1:-}" = book ]; then
    if have_mdbook; then make_book "$(realpath -m "$2")"; else echo 'skipped: mdbook is not there; make docs builds it'; fi
    exit
fi
uri=$(scripts/cluster.sh start)
for part in reference configuration errors; do
    print_part "$part" "$uri" >"$MILLRACE_HOME/part"
    cat "$MILLRACE_HOME/part" >"docs/$part.md"
done
for picture in docs/pictures/*.txt; do
    print_part picture "$picture" >"${picture%.txt}.svg"
done
scripts/setup.sh
(
    eval "$(scripts/cluster.sh env)"
    PATH=$(bindir):$PATH
    LAND_FILES=60 DASHBOARD_PICTURE=docs/pictures/dashboard.png pg_test/dashboard/run.sh
)
PRIVILEGES_PAGE=$ROOT/docs/privileges.md cargo test --no-default-features --test e2e what_each_role_may_do
python3 scripts/docs/links.py
find_mdbook
make_book "$MILLRACE_CACHE/book"
