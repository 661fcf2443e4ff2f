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
cargo test --workspace --release "${tests[@]}" --no-run
exec env "$@" .ci/twice.sh 400 --release "${tests[@]}"
