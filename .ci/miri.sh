#!/usr/bin/env bash
# Miri on what needs neither assembly nor much of the system: the models of the protocols on plain threads, and the unit tests
# that it can run. It finds wrong accesses to memory, data races, leaks, and references that are used against their rules.
# docs/design/sanitizers.md says what it sees, and what it does not run.
set -euo pipefail
cd "$(dirname "$0")/.."

if ! cargo +nightly miri --version >/dev/null 2>&1; then
    echo "*** SKIPPED: no nightly compiler with Miri, so nothing has been run under it" >&2
    exit 0
fi

# The models of `--cfg loom`, on std's threads and locks: testing/loom.
export RUSTFLAGS="${RUSTFLAGS:-} --cfg narrowboat_threads"
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-target}/miri
# Threads are preempted more often than usual. Provenance is not strict: what a dump describes, and what the parking lot
# compares, passes through numbers.
export MIRIFLAGS="-Zmiri-permissive-provenance -Zmiri-preemption-rate=0.05"
export MIRIFLAGS="$MIRIFLAGS -Zmiri-env-forward=NARROWBOAT_MODEL_ROUNDS"
# So often is each model run, with other preemptions and other values of its loads each time.
export NARROWBOAT_MODEL_ROUNDS=${NARROWBOAT_MODEL_ROUNDS:-3}

# Tests that are left out together, by a part of their names. Others say why in their own place (`cfg_attr(miri, ignore)`).
# chan: all orders of a tree of contexts on one thread, in safe code: minutes.
# net: sockets and other descriptors. runtime: mappings, other processes, the program's symbols.
declare -A left_out=(
    [runtime]="stack:: sys::" [chan]=interleavings [future]="" [sync]=""
    [net]="source:: sys:: tcp:: unix:: resolve:: limit::"
)
# The others that have unit tests (debug, remote, sim, top) have no unsafe code of their own.
crates=(runtime chan future sync net)
failed=0

test=(cargo +nightly miri test --quiet)
"${test[@]}" "${crates[@]/#/--package=narrowboat-}" --lib --no-run

# run CRATE: its unit tests; prints the names of those that are not run, and how many are.
run() {
    local crate=$1 log part skip=() ok=0 not
    for part in ${left_out[$crate]}; do
        skip+=(--skip "$part")
    done
    log=$(mktemp)
    timeout --kill-after=10 600 "${test[@]}" --package "narrowboat-$crate" --lib -- --format=pretty "${skip[@]}" >"$log" 2>&1 || {
        cat "$log"
        ok=1
    }
    grep -E '^test .* \.\.\. ignored' "$log" || true
    for part in ${left_out[$crate]}; do
        "${test[@]}" --package "narrowboat-$crate" --lib -- --list "$part" 2>>"$log" | sed -n 's/^\(.*\): test$/test \1 ... left out/p'
    done | tee "$log.left"
    not=$(cat "$log" "$log.left" | grep -cE '^test .* \.\.\. (ignored|left out)' || true)
    printf -- '--> narrowboat-%s under Miri: %s tests run, %s not\n' "$crate" "$(grep -cE '^test .* ok$' "$log" || true)" "$not"
    # Nothing that is run is not enough.
    grep -qE '^test result: ok\. [1-9][0-9]* passed' "$log" || ok=1
    rm "$log" "$log.left"
    return "$ok"
}

# Two at a time: an execution under Miri has one thread.
logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT
for ((i = 0; i < ${#crates[@]}; i += 2)); do
    jobs=()
    for crate in "${crates[@]:i:2}"; do
        run "$crate" >"$logs/$crate" &
        jobs+=($!)
    done
    for job in "${jobs[@]}"; do
        wait "$job" || failed=1
    done
done
for crate in "${crates[@]}"; do
    cat "$logs/$crate"
done
exit "$failed"
