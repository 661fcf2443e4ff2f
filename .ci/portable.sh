#!/usr/bin/env bash
# What macOS and FreeBSD do, as far as it can be done on Linux: the torture of stacks and thread-locals with guards that are
# mappings, and with memory that is given back by mapping it anew; and with that memory the sockets' whole suite through the
# public interface of `polling`, with workers that carry processors and with pinned ones.
set -euo pipefail
cd "$(dirname "$0")/.."

export NARROWBOAT_TEST_SCALE=${NARROWBOAT_TEST_SCALE-20}
stacks=(--workspace --release --test torture_stacks --test torture_locals --test stack_memory)
for memory in mappings anew; do
    printf -- '--> NARROWBOAT_TEST_MEMORY=%s\n' "$memory"
    NARROWBOAT_TEST_MEMORY=$memory timeout --kill-after=10 400 cargo test "${stacks[@]}"
done

# A target directory of its own: the choice of features would rebuild the others.
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target}/portable NARROWBOAT_TEST_MEMORY=anew
sockets=(-p narrowboat-net --features portable-poller --release --no-fail-fast --tests)
cargo test "${sockets[@]}" --no-run
for pinned in NARROWBOAT_PIN=0 NARROWBOAT_PIN=1; do
    printf -- '--> sockets through polling, %s\n' "$pinned"
    env "$pinned" timeout --kill-after=10 400 cargo test "${sockets[@]}"
done
