#!/usr/bin/env bash
# Keeps all servers of the examples under load, attack and inspection for an hour, or for so many seconds, and starts each
# anew now and then: soak.sh [SECONDS]. No reply may be wrong, no error may come but by a restart, and at the end
# descriptors, threads, goroutines and memory must be what they were. The table of samples is in target/soak.log.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${1:-3600}
mkdir -p target
# All packages, as elsewhere: one alone would be another choice of features, and another build of everything.
cargo build --workspace --release --examples
NARROWBOAT_SOAK_SECONDS=$seconds timeout --kill-after=10 $((seconds + 600)) \
    cargo test --workspace --release --test examples -- --ignored --nocapture --exact soak::soak | tee target/soak.log

# A filter that matches nothing passes too.
grep -Eq '^test result: ok\. 1 passed' target/soak.log || {
    echo "the soak was not run" >&2
    exit 1
}
