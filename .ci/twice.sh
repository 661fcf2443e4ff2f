#!/usr/bin/env bash
# `cargo test --workspace` within so many seconds, a limit that turns a deadlock into a failure: twice.sh SECONDS
# [ARGUMENT...]
# Tests of a scheduler need time from a machine that others use, too. So the test programs that fail are run once more,
# alone, after all others. What passes then is written to target/flaky and said at the end of .ci/run: it is a fault to be
# mended, of the test or of the code, but it does not hold up everything else.
set -euo pipefail
cd "$(dirname "$0")/.."

limit=$1
shift
log=$(mktemp)
trap 'rm -f "$log"' EXIT

run() {
    timeout --kill-after=10 "$limit" cargo test --workspace --no-fail-fast "$@" 2>&1 | tee "$log"
}

failures() {
    printf '\n--> what failed\n'
    sed -n '/^failures:$/,/^test result/p' "$log"
}

run "$@" && exit
failures
# The lines in which cargo names the programs: `-p PACKAGE --test NAME`, `-p PACKAGE --lib`.
mapfile -t failed < <(sed -nE 's/^    `-p [^ ]+ (--lib|--test [^ ]+).*`$/\1/p' "$log" | sort -u)
# Those of the documentation are a run of their own.
documentation=()
if grep -q '^    `-p [^ ]* .*--doc`$' "$log"; then
    documentation=(--doc)
fi
if ((${#failed[@]} + ${#documentation[@]} == 0)); then
    exit 1
fi
others=()
for argument in "$@"; do
    [[ $argument == --release ]] && others+=("$argument")
done
# shellcheck disable=SC2086
if { ((${#failed[@]} == 0)) || run "${others[@]}" ${failed[*]}; } &&
    { ((${#documentation[@]} == 0)) || run "${others[@]}" --doc; }; then
    printf 'FLAKY: passed when run again: %s\n' "${failed[*]} ${documentation[*]}" | tee -a target/flaky
else
    failures
    exit 1
fi
