#!/usr/bin/env bash
# Goroutines under AddressSanitizer, with a nightly compiler if there is one: what it reports must be what is wrong.
# docs/design/sanitizers.md says what it sees, and why ThreadSanitizer is not here.
set -euo pipefail
cd "$(dirname "$0")/.."

if ! cargo +nightly --version >/dev/null 2>&1; then
    echo "SKIPPED: no nightly compiler, so nothing has been run under AddressSanitizer" >&2
    exit 0
fi

# The target is named so that build scripts are not built with the sanitizer. A target directory of its own, because the flags
# rebuild everything.
target=x86_64-unknown-linux-gnu
export RUSTFLAGS="${RUSTFLAGS:-} -Zsanitizer=address --cfg narrowboat_asan"
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-target}/asan
export ASAN_OPTIONS=detect_stack_use_after_return=0:detect_leaks=0
test=(cargo +nightly test --target "$target" -p narrowboat-runtime --test sanitizers)

"${test[@]}" --no-run
for mode in NARROWBOAT_STRESS=0 NARROWBOAT_STRESS=evict NARROWBOAT_STACK_SLOTS=1 NARROWBOAT_STACKS=own NARROWBOAT_PIN=1; do
    echo "--> $mode"
    log=$(mktemp)
    env "$mode" timeout --kill-after=10 300 "${test[@]}" >"$log" 2>&1 || { cat "$log"; exit 1; }
    # It says so when it cannot clean up after a panic.
    if grep AddressSanitizer "$log" || ! grep -E '^test result: ok\. [1-9][0-9]* passed' "$log"; then
        cat "$log"
        exit 1
    fi
    rm "$log"
done
for wrong in wrong_use_of_the_heap_is_found wrong_use_of_the_stack_is_found; do
    echo "--> $wrong"
    # Grep reads all of it: the process is not to end for want of a reader.
    { timeout --kill-after=10 60 "${test[@]}" -- --ignored --exact --nocapture "$wrong" 2>&1 || true; } |
        grep 'ERROR: AddressSanitizer' || {
        echo "AddressSanitizer has not found $wrong" >&2
        exit 1
    }
done
