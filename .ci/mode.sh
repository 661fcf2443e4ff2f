#!/usr/bin/env bash
# The optimised suite, in another mode of the runtime or of the tests if variables are given: mode.sh [DIRECTORY]
# [VARIABLE=VALUE...]
# With a directory, only the tests in it. Documentation examples are left out: they show the API, not the modes.
set -euo pipefail
cd "$(dirname "$0")/.."

# One package alone would be another choice of features of what it depends on, and so another build of everything.
tests=(--tests)
if [[ -d ${1-} ]]; then
    tests=()
    for test in "$1"/*; do
        # A directory without it is a module of other tests.
        [[ -f $test || -f $test/main.rs ]] || continue
        tests+=(--test "$(basename "$test" .rs)")
    done
    shift
else
    cargo build --workspace --release --examples
fi
# The limit, which turns a deadlock into a failure, is for the tests alone.
cargo test --workspace --release "${tests[@]}" --no-run
log=$(mktemp)
trap 'rm -f "$log"' EXIT
run() {
    env "$@" timeout --kill-after=10 400 cargo test --workspace --release --no-fail-fast "${tests[@]}" 2>&1
}
if ! run "$@" | tee "$log"; then
    printf '\n--> what failed, once more\n'
    sed -n '/^failures:$/,/^test result/p' "$log"
    exit 1
fi
