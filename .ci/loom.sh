#!/usr/bin/env bash
# Model checking of the lock-free protocols and of the channels upon them. A target directory of its own, because the flag
# rebuilds everything.
set -euo pipefail
cd "$(dirname "$0")/.."

export RUSTFLAGS="${RUSTFLAGS:-} --cfg loom" CARGO_TARGET_DIR=target/loom
mkdir -p "$CARGO_TARGET_DIR"
crates=(runtime chan future sync net)

timeout --kill-after=10 600 cargo test "${crates[@]/#/--package=narrowboat-}" --lib --release loom | tee target/loom.log

# A filter that matches nothing passes too.
[[ $(grep -Ec '^test result: ok\. [1-9][0-9]* passed' target/loom.log) == "${#crates[@]}" ]] || {
    echo "not every one of these ran a loom model: ${crates[*]}" >&2
    exit 1
}
