#!/usr/bin/env bash
# The torture tests, and those of reports and their backtraces, with link-time optimisation over everything, which may keep
# thread-local addresses wherever it likes.
set -euo pipefail
cd "$(dirname "$0")/.."

exec timeout --kill-after=10 600 cargo test -p narrowboat -p narrowboat-runtime --profile release-lto \
    --test torture_locals --test torture_stacks --test endings
