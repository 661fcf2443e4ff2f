#!/usr/bin/env bash
# Compiles, lints and documents the published crates for systems that they cannot be run on here: targets.sh [TARGET...]
# Code is generated, so that what is assembly is assembled, but not linked. The compiler and the sources of std come from
# .ci/cross.sh.
set -euo pipefail
cd "$(dirname "$0")/.."

cross=$(.ci/cross.sh) || {
    printf '*** SKIPPED: nothing has been compiled for macOS and FreeBSD: no compiler with the sources of std\n' >&2
    exit 0
}
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target}/targets CARGO_INCREMENTAL=0 CARGO_PROFILE_DEV_DEBUG=false
export RUSTC=$cross/bin/rustc RUSTDOC=$cross/bin/rustdoc RUSTC_BOOTSTRAP=1 RUSTDOCFLAGS=-Dwarnings

if (($# == 0)); then
    set -- aarch64-apple-darwin x86_64-apple-darwin x86_64-unknown-freebsd
fi
for target in "$@"; do
    options=(-Zbuild-std=std,panic_unwind --target "$target" --features narrowboat/debug,narrowboat/actor,narrowboat/remote --lib
        -p narrowboat -p narrowboat-runtime -p narrowboat-chan -p narrowboat-future -p narrowboat-sync -p narrowboat-net -p narrowboat-sim
        -p narrowboat-debug -p narrowboat-actor -p narrowboat-remote)
    printf -- '--> %s\n' "$target"
    # The driver of clippy is a compiler, too.
    RUSTC_WORKSPACE_WRAPPER=$cross/bin/clippy-driver CLIPPY_ARGS=-Dwarnings__CLIPPY_HACKERY__ \
        cargo build -q "${options[@]}"
    cargo doc -q --no-deps "${options[@]}"
    rm -rf "${CARGO_TARGET_DIR:?}/$target"
    printf '%s compiles, without a warning; it has not been run\n' "$target"
done
