#!/usr/bin/env bash
# man_test.sh TERRACE: the man pages that `TERRACE man` writes are right, as man(1) and mandoc(1) see it where there are any.
set -euo pipefail
program=$1
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
failed=0

complain() {
    printf 'man: %s\n' "$*" >&2
    failed=1
}

"$program" man --directory "$folder"
for page in terrace terrace-replay terrace-generate terrace-inspect terrace-bench; do
    [ -s "$folder/$page.1" ] || complain "there is no page $page.1"
done
"$program" man replay | cmp - "$folder/terrace-replay.1" || complain "\`man replay\` prints another page than it writes"
! "$program" man nothing 2>"$folder/said" || complain "a page for a command that is not there"
grep -q 'there is no command `terrace nothing`; there are terrace, terrace replay,' "$folder/said" || complain "$(<"$folder/said")"

for page in "$folder"/*.1; do
    if command -v mandoc >/dev/null; then
        # There is no date before there is a release.
        mandoc -T lint -W warning "$page" | grep -v ' missing date, ' >"$folder/lint" || :
        [ ! -s "$folder/lint" ] || complain "$(<"$folder/lint")"
    fi
    if command -v man >/dev/null && command -v groff >/dev/null; then
        LC_ALL=C MANROFFSEQ='' man --warnings -l "$page" 2>"$folder/warnings" >"$folder/text"
        [ ! -s "$folder/warnings" ] || complain "$(<"$folder/warnings")"
        grep -q SYNOPSIS "$folder/text" || complain "$page has no synopsis"
    fi
done
exit "$failed"
