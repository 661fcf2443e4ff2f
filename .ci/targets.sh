#!/usr/bin/env bash
# Compiles, lints and documents the published crates for systems that they cannot be run on here: targets.sh [TARGET...]
# The compiler and the sources of std come from .ci/cross.sh. Code is generated, so the assembler sees what is assembly.
set -euo pipefail
cd "$(dirname "$0")/.."

cross=$(.ci/cross.sh) || {
    printf '*** SKIPPED: nothing has been compiled for macOS and FreeBSD: no compiler with the sources of std\n' >&2
    exit 0
}
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target}/targets CARGO_INCREMENTAL=0
export RUSTC=$cross/bin/rustc RUSTDOC=$cross/bin/rustdoc RUSTC_BOOTSTRAP=1 RUSTDOCFLAGS=-Dwarnings
# Assembly is what needs code; how good it is does not matter.
export CARGO_PROFILE_DEV_DEBUG=false CARGO_PROFILE_DEV_OPT_LEVEL=0

if (($# == 0)); then
    set -- aarch64-apple-darwin x86_64-apple-darwin x86_64-unknown-freebsd
fi
for target in "$@"; do
    options=(-Zbuild-std=std,panic_unwind --target "$target" -p narrowboat -p narrowboat-debug
        --features narrowboat/debug --lib)
    printf -- '--> %s\n' "$target"
    RUSTC_WORKSPACE_WRAPPER=$cross/bin/clippy-driver CLIPPY_ARGS=-Dwarnings__CLIPPY_HACKERY__ \
        cargo check -q "${options[@]}" -p narrowboat-runtime -p narrowboat-chan -p narrowboat-future \
        -p narrowboat-sync -p narrowboat-net
    cargo build -q "${options[@]}"
    cargo doc -q --no-deps "${options[@]}"
    rm -rf "${CARGO_TARGET_DIR:?}/$target"
done
