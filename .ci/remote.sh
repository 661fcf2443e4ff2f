#!/usr/bin/env bash
# The bus over a real NATS server: the feature `nats`, which the rest of the checks leaves out because its client takes long to
# build. Without nats-server the tests say SKIPPED, or fail if NARROWBOAT_REQUIRE_TOOLS is set.
# With a number of seconds: the program that kills its own processes, for so long.
set -euo pipefail
cd "$(dirname "$0")/.."
PATH=$PATH:/usr/sbin

if (($# > 0)); then
    exec cargo run --release -p narrowboat-remote --features nats --example survivors -- "$1"
fi
cargo clippy --release -p narrowboat-remote --all-features --all-targets -- -D warnings
# Examples first: a test runs one.
cargo build --release -p narrowboat-remote --all-features --examples
timeout --kill-after=5 600 cargo test --release -p narrowboat-remote --all-features --lib --tests
