#!/usr/bin/env bash
# The torture tests, those of reports and their backtraces, and those of blocking functions of the C library, with link-time
# optimisation over everything, which may keep thread-local addresses wherever it likes and inlines std's calls of them:
# lto.sh [ARGUMENT of cargo...]
set -euo pipefail
cd "$(dirname "$0")/.."

exec timeout --kill-after=10 900 cargo test -p narrowboat -p narrowboat-runtime --profile release-lto \
    --test torture_locals --test torture_stacks --test endings --test 'interposed*' "$@"
