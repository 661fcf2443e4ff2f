#!/usr/bin/env bash
# A small round of the torture test of stacks under valgrind's memcheck.
set -euo pipefail
cd "$(dirname "$0")/.."

exec timeout --kill-after=10 600 cargo test --release --test torture_stacks -- --ignored memcheck
