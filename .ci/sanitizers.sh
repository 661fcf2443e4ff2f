#!/usr/bin/env bash
# Goroutines under AddressSanitizer and ThreadSanitizer, and the models on plain threads under the latter, with a nightly
# compiler if there is one: what they report must be what is wrong. docs/design/sanitizers.md says what they see.
set -euo pipefail
cd "$(dirname "$0")/.."

if ! cargo +nightly --version >/dev/null 2>&1; then
    echo "SKIPPED: no nightly compiler, so nothing has been run under AddressSanitizer and ThreadSanitizer" >&2
    exit 0
fi

# The target is named so that build scripts are not built with the sanitizer. Target directories of their own, because the flags
# rebuild everything.
target=x86_64-unknown-linux-gnu
flags=${RUSTFLAGS:-}
directory=${CARGO_TARGET_DIR:-target}
modes=(NARROWBOAT_STRESS=0 NARROWBOAT_STRESS=evict NARROWBOAT_STACK_SLOTS=1 NARROWBOAT_STACKS=own NARROWBOAT_PIN=1)

# passes NAME COMMAND...: runs it. Fails if it fails, runs no test, or a sanitizer says anything (it also does so when it cannot
# clean up after a panic).
passes() {
    local log name=$1 result=0
    shift
    echo "--> $name"
    log=$(mktemp)
    timeout --kill-after=10 300 "$@" >"$log" 2>&1 || result=$?
    if [[ $result != 0 ]] || grep -E '(Address|Leak|Thread)Sanitizer|ASan' "$log" ||
        ! grep -E '^test result: ok\. [1-9][0-9]* passed' "$log"; then
        cat "$log"
        return 1
    fi
    rm "$log"
}

# finds REPORT TEST COMMAND...: a test that does what is wrong must be reported.
finds() {
    local report=$1 wrong=$2
    shift 2
    echo "--> $wrong"
    # Grep reads all of it: the process is not to end for want of a reader.
    { timeout --kill-after=10 60 "$@" -- --ignored --exact --nocapture "$wrong" 2>&1 || true; } | grep "$report" || {
        echo "$wrong has not been found" >&2
        return 1
    }
}

export RUSTFLAGS="$flags -Zsanitizer=address --cfg narrowboat_asan" CARGO_TARGET_DIR=$directory/asan
export ASAN_OPTIONS=detect_stack_use_after_return=0:detect_leaks=1
test=(cargo +nightly test --target "$target" -p narrowboat-runtime --test sanitizers)
"${test[@]}" --no-run
for mode in "${modes[@]}"; do
    passes "AddressSanitizer, $mode" env "$mode" "${test[@]}"
done
for wrong in wrong_use_of_the_heap_is_found wrong_use_of_the_stack_is_found; do
    finds 'ERROR: AddressSanitizer' "$wrong" "${test[@]}"
done
finds 'ERROR: LeakSanitizer' wrong_end_of_blocks_is_found "${test[@]}"

# The order of std's locks is only seen in a std that is built with the sanitizer, too.
if ! [[ -f $(rustc +nightly --print sysroot)/lib/rustlib/src/rust/library/std/Cargo.toml ]]; then
    echo "*** SKIPPED: the nightly compiler has no rust-src, so nothing has been run under ThreadSanitizer" >&2
    exit 0
fi
export RUSTFLAGS="$flags -Zsanitizer=thread --cfg narrowboat_tsan --cfg narrowboat_threads" CARGO_TARGET_DIR=$directory/tsan
# The models of `--cfg loom` run so often, on std's threads and locks: testing/loom.
export NARROWBOAT_MODEL_ROUNDS=${NARROWBOAT_MODEL_ROUNDS:-300}
export TSAN_OPTIONS=halt_on_error=0
crates=(runtime chan future sync net)
cargo=(cargo +nightly test -Zbuild-std --target "$target")
test=("${cargo[@]}" -p narrowboat-runtime --test sanitizers)
"${cargo[@]}" "${crates[@]/#/--package=narrowboat-}" --lib --no-run
"${test[@]}" --no-run
for crate in "${crates[@]}"; do
    # The clock of some models is that of all threads.
    passes "ThreadSanitizer, the models of narrowboat-$crate" \
        "${cargo[@]}" -p "narrowboat-$crate" --lib loom -- --test-threads=1
done
for mode in "${modes[@]}"; do
    passes "ThreadSanitizer, $mode" env "$mode" "${test[@]}" -- --test-threads=1
done
finds 'WARNING: ThreadSanitizer: data race' wrong_order_of_goroutines_is_found "${test[@]}"
