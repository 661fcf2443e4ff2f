#!/usr/bin/env bash
# System calls that fail, in programs under load, and limits: faults.sh [SECONDS]. What fails, and what comes of it, is in
# docs/design/faults.md. A minute has each sort of fault once or twice, an hour has nearly all of them.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${1:-60}
# All packages, as elsewhere: one alone would be another choice of features, and another build of everything.
cargo build --workspace --release --examples
log=$(mktemp)
NARROWBOAT_FAULT_SECONDS=$seconds timeout --kill-after=10 $((seconds + 300)) \
    cargo test --workspace --release --test injection -- --ignored --nocapture --test-threads=1 --exact \
    every_call_may_fail limits::limits_are_errors_or_sentences 2>&1 | tee "$log"

# A filter that matches nothing passes too.
grep -Eq '^test result: ok\. 2 passed' "$log" || {
    echo "no faults were injected" >&2
    exit 1
}
rm "$log"
