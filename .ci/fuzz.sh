#!/usr/bin/env bash
# Looks for inputs that programs of fuzz/ get wrong: fuzz.sh [SECONDS] [TARGET...]. So many seconds for each target, two at
# a time; all of them with the inputs that are kept in fuzz/corpus first. The same every time but for what it finds.
set -euo pipefail
cd "$(dirname "$0")/../fuzz"

seconds=${1:-60}
targets=("${@:2}")
if ((${#targets[@]} == 0)); then
    targets=(select programs programs-evict http redis trace sim)
fi
if ! command -v c++ >/dev/null; then
    echo "*** SKIPPED: no compiler for C++, so no fuzzer" >&2
    exit 0
fi

# The flags of cargo-fuzz, without a sanitizer: a stable compiler has them all.
export RUSTFLAGS="${RUSTFLAGS:-} --cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table
    -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1"
RUSTFLAGS=$(tr -s '\n ' ' ' <<<"$RUSTFLAGS")
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/../target}/fuzz
# With it the flags are not those of build scripts.
machine=x86_64-unknown-linux-gnu

cargo fmt --check
cargo build --release --target "$machine"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# fuzz TARGET: a target, perhaps in another mode of the runtime.
fuzz() {
    local target=${1%-evict} found=$scratch/$1
    local mode=0 length=1024
    [[ $1 == "$target" ]] || mode=evict
    # A trace is longer than a program.
    [[ $target != trace ]] || length=65536
    mkdir -p "$found" "corpus/$target"
    NARROWBOAT_STRESS=$mode "$CARGO_TARGET_DIR/$machine/release/$target" "$found" "corpus/$target" \
        -max_total_time="$seconds" -timeout=60 -rss_limit_mb=4096 -seed=1 -max_len="$length" \
        -artifact_prefix="artifacts/$1-" >"$found.log" 2>&1
}

mkdir -p artifacts
failed=0
for ((i = 0; i < ${#targets[@]}; i += 2)); do
    jobs=()
    for target in "${targets[@]:i:2}"; do
        fuzz "$target" &
        jobs+=($!)
    done
    for job in "${jobs[@]}"; do
        wait "$job" || failed=1
    done
done
for target in "${targets[@]}"; do
    grep -E '^Done [0-9]+ runs' "$scratch/$target.log" | sed "s/^/$target: /" || {
        printf '*** %s:\n' "$target" >&2
        tail -n 60 "$scratch/$target.log" >&2
        failed=1
    }
done
if [[ -n ${KEEP-} ]]; then
    cp -r "$scratch" "$KEEP"
fi
exit "$failed"
