#!/usr/bin/env bash
# The torture tests, those of reports and their backtraces, and those of blocking functions of the C library, with link-time
# optimisation over everything, which may keep thread-local addresses wherever it likes and inlines std's calls of them:
# lto.sh [--build]. With --build it only builds them.
set -euo pipefail
cd "$(dirname "$0")/.."

test=(cargo test -p narrowboat -p narrowboat-runtime --profile release-lto
    --test torture_locals --test torture_stacks --test endings --test 'interposed*')
"${test[@]}" --no-run
if [[ ${1-} != --build ]]; then
    timeout --kill-after=10 600 "${test[@]}"
fi
