#!/usr/bin/env bash
# The documentation: `docs.sh` renews what is generated from the catalog and the sources and the picture that a test takes, checks the links and
# makes the book;
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

find_mdbook() {
    for mdbook in "$(command -v mdbook || true)" "$MILLRACE_CACHE/mdbook/bin/mdbook"; do
        if [ -x "$mdbook" ]; then return; fi
    done
    say "Building mdbook $MDBOOK_VERSION (a few minutes, once)"
    CARGO_TARGET_DIR=$MILLRACE_CACHE/mdbook/target cargo install mdbook --version "$MDBOOK_VERSION" --locked --no-default-features --features search \
        --root "$MILLRACE_CACHE/mdbook" >&2
    rm -rf "$MILLRACE_CACHE/mdbook/target"
}

make_book() {
    local staged=$MILLRACE_CACHE/book-source book=$MILLRACE_CACHE/book page
    find_mdbook
    rm -rf "$staged"
    cp -R docs "$staged"
    # A page that the summary does not name stands at its end.
    for page in docs/*.md; do
        page=${page#docs/}
        [ "$page" = SUMMARY.md ] || grep -qF "($page)" docs/SUMMARY.md ||
            echo "- [$(sed -n 's/^# //p' "docs/$page" | head -n 1)]($page)" >>"$staged/SUMMARY.md"
    done
    "$mdbook" build "$staged" -d "$book"
    echo "$book/index.html"
}

if [ "${1:-}" = print ]; then
    print_part "${@:2}"
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
python3 scripts/docs/links.py
make_book
