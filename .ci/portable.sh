#!/usr/bin/env bash
# What macOS and FreeBSD do, as far as it can be done on Linux: the sockets' whole suite through the public interface of
# `polling`, with pinned workers, and with guards that are mappings and memory that is given back by mapping it anew; and the
# torture of stacks and thread-locals with that memory. A target directory of its own: the choice of features would rebuild
# the others.
set -euo pipefail
cd "$(dirname "$0")/.."

export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target}/portable
export NARROWBOAT_TEST_SCALE=${NARROWBOAT_TEST_SCALE-20} NARROWBOAT_TEST_MEMORY=anew
sockets=(-p narrowboat-net --features portable-poller --release --no-fail-fast)
nice cargo test "${sockets[@]}" --tests --no-run
timeout --kill-after=10 400 cargo test "${sockets[@]}" --tests
NARROWBOAT_PIN=1 timeout --kill-after=10 400 cargo test "${sockets[@]}" --tests
