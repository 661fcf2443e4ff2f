#!/usr/bin/env bash
# Checks the published crates with the oldest compiler that they promise, if it is installed:
# rustup toolchain install 1.88
set -euo pipefail
cd "$(dirname "$0")/.."

oldest=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
if ! cargo "+$oldest" --version >/dev/null 2>&1; then
    printf '*** SKIPPED: Rust %s is not installed, so nothing has been compiled with it\n' "$oldest" >&2
    exit 0
fi

# Libraries alone: what tests and examples depend on may want a newer compiler.
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-target}/msrv
exec cargo "+$oldest" check --workspace --lib --all-features
