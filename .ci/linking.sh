#!/usr/bin/env bash
# Links small programs in every way that Rust programs are linked, and runs their checks: what belongs to a goroutine must be
# its own in all of them, or the program must say that it is not. See tests/linking.
set -euo pipefail
cd "$(dirname "$0")/../tests/linking"

export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/../../target}/linking
target=x86_64-unknown-linux-gnu
# Joining a thread blocks, and on a busy machine for long enough to be told.
export NARROWBOAT_STUCK=0
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
passed=0 failed=() skipped=()

# skip WHAT WHY
skip() {
    printf 'SKIPPED %s: %s\n' "$1" "$2"
    skipped+=("$1")
}

# fail WHAT WHY: with what the last program has written.
fail() {
    printf 'FAILED  %s: %s\n' "$1" "$2"
    sed 's/^/        /' "$scratch/out" "$scratch/err" | head -40
    failed+=("$1")
}

pass() {
    printf 'ok      %s\n' "$1"
    passed=$((passed + 1))
}

# run COMMAND...: what it writes is left in the scratch directory.
run() {
    timeout --kill-after=5 "${limit-60}" "$@" >"$scratch/out" 2>"$scratch/err"
}

# private WHAT COMMAND...: all checks hold, goroutines have thread-locals of their own, and nothing is said about it.
private() {
    local what=$1
    shift
    if ! run "$@"; then
        fail "$what" "exit status"
    elif ! grep -qx ok "$scratch/out" || grep '^shared_locals:' "$scratch/out" | grep -qvx 'shared_locals: none'; then
        fail "$what" "not private"
    elif [[ -s $scratch/err ]]; then
        fail "$what" "said something"
    else
        pass "$what"
    fi
}

# shared WHAT COMMAND...: goroutines share thread-locals, which is said once; the rest of the checks holds.
shared() {
    local what=$1
    shift
    if ! run "$@"; then
        fail "$what" "exit status"
    elif ! grep -qx ok "$scratch/out" || ! grep '^shared_locals:' "$scratch/out" | grep -qvx 'shared_locals: none'; then
        fail "$what" "not told in stats"
    elif (($(grep -c '^narrowboat: goroutines of a processor share its thread-locals' "$scratch/err") != 1)); then
        fail "$what" "not told once on standard error"
    else
        pass "$what"
    fi
}

# linked NAME BINARY RUSTC-ARGUMENT...: the release program with other arguments for its last step, where only that is done
# again. Prints the name of a copy.
linked() {
    local name=$1 binary=$2
    shift 2
    cargo rustc -q --release --features "${features-}" --bin "$binary" -- "$@" >&2 || return
    cp "$CARGO_TARGET_DIR/release/$binary" "$scratch/$name"
    printf '%s\n' "$scratch/$name"
}

built() {
    cargo build -q "$@"
}

cargo fmt --check

# --- One program, in the profiles that people have.
built --bin linking
private debug "$CARGO_TARGET_DIR/debug/linking"
private "debug, NARROWBOAT_STRESS=evict" env NARROWBOAT_STRESS=evict "$CARGO_TARGET_DIR/debug/linking"
built --release --bin linking
program=$CARGO_TARGET_DIR/release/linking
private release "$program"
private "NARROWBOAT_PIN=1" env NARROWBOAT_PIN=1 "$program"
private "own stacks" env NARROWBOAT_STACKS=own "$program"
private "one worker" env NARROWBOAT_WORKERS=1 "$program"
cp "$program" "$scratch/stripped"
strip "$scratch/stripped"
private "stripped afterwards" "$scratch/stripped"
built --profile abort --bin linking
private 'lto = "fat", panic = "abort"' "$CARGO_TARGET_DIR/abort/linking"
# libc's functions cannot be defined anew where libc is a part of the program.
static=(--release --target $target --bin linking)
if RUSTFLAGS='-C target-feature=+crt-static' limit=600 run cargo build -q "${static[@]}"; then
    fail "static-pie with interpose" "it was built"
elif ! grep -q 'needs glibc, linked dynamically; build with `default-features = false`' "$scratch/err"; then
    fail "static-pie with interpose" "not told what to do"
else
    pass "static-pie with interpose is refused"
fi
RUSTFLAGS='-C target-feature=+crt-static' built "${static[@]}" --no-default-features
private static-pie "$CARGO_TARGET_DIR/$target/release/linking"

# --- Other ways to link it.
private 'strip = true' "$(linked strip linking -C strip=symbols)"
private "names of version 0" "$(linked v0 linking -C symbol-mangling-version=v0)"
private "not position-independent" "$(linked no-pie linking -C relocation-model=static)"
for linker in bfd gold; do
    if command -v ld.$linker >/dev/null; then
        private "ld.$linker" "$(linked $linker linking -C link-arg=-fuse-ld=$linker)"
    else
        skip "ld.$linker" "there is none"
    fi
done
# std in a library of its own keeps what belongs to goroutines in another segment.
dynamic=$(linked dynamic linking -C prefer-dynamic)
shared "std as a shared library" env LD_LIBRARY_PATH="$(rustc --print target-libdir)" "$dynamic"

# --- A library that other programs load.
built --release --lib
plugin=$CARGO_TARGET_DIR/release/liblinking_plugin.so
cp "$plugin" "$scratch/second.so"
cp "$plugin" "$scratch/stripped.so"
strip "$scratch/stripped.so"
if command -v gcc >/dev/null; then
    gcc -O1 -o "$scratch/loads" foreign/loads.c -ldl
    private "loaded by a C program" "$scratch/loads" "$plugin"
    private "two libraries in one process" "$scratch/loads" "$plugin" "$scratch/second.so"
    private "a stripped library" "$scratch/loads" "$scratch/stripped.so"
else
    skip "loaded by a C program" "there is no gcc"
fi
if command -v python3 >/dev/null; then
    private "loaded by Python" python3 foreign/loads.py "$plugin"
else
    skip "loaded by Python" "there is no python3"
fi

# --- An object of C++.
if command -v g++ >/dev/null; then
    g++ -O1 -c -o "$scratch/exceptions.o" foreign/exceptions.cc
    cxx() {
        features=cxx linked "$1" exceptions -C link-arg="$scratch/exceptions.o" "${@:2}"
    }
    private "C++" "$(cxx cxx -C link-arg=-lstdc++)"
    private "C++, stripped" "$(cxx cxx-stripped -C link-arg=-lstdc++ -C strip=symbols)"
    private "C++, its library linked statically" \
        "$(cxx cxx-static -C link-arg=-Wl,-Bstatic -C link-arg=-lstdc++ -C link-arg=-Wl,-Bdynamic)"
else
    skip "C++" "there is no g++"
fi

# --- Allocators. Memory of a churn on one processor is at most 1.2 times that on a thread, and does not grow. On sixteen it
# is at most 1.5 times that on as many threads: see the program.
# jemalloc gives pages back ten seconds after their last use, longer than a churn takes: here it does so at once, or what is
# compared is how fast the machine is.
# churn WHAT PROGRAM
churn() {
    local -x _RJEM_MALLOC_CONF=dirty_decay_ms:0,muzzy_decay_ms:0
    local processors most first all of_threads
    for processors in 1 16; do
        most=$((processors == 1 ? 12 : 15))
        if ! run "$2" threads $processors; then fail "$1" "on threads: exit status" && return; fi
        read -r _ of_threads <"$scratch/out"
        if ! run "$2" goroutines $processors; then fail "$1" "on goroutines: exit status" && return; fi
        read -r first all <"$scratch/out"
        printf '        %2d: %d kB on goroutines (%d in the first third), %d kB on threads\n' \
            $processors "$all" "$first" "$of_threads"
        if ((all * 10 > of_threads * most)); then fail "$1" "too much" && return; fi
        if ((all * 10 > first * 12)); then fail "$1" "grows" && return; fi
    done
    pass "$1"
}

built --release --bin churn
churn "memory with glibc's allocator" "$CARGO_TARGET_DIR/release/churn"
for allocator in mimalloc jemalloc; do
    features=$allocator
    if ! built --release --features $allocator --bin linking --bin churn; then
        fail $allocator "does not build"
        continue
    fi
    private $allocator "$CARGO_TARGET_DIR/release/linking"
    private "$allocator, NARROWBOAT_STRESS=evict" env NARROWBOAT_STRESS=evict "$CARGO_TARGET_DIR/release/linking"
    churn "memory with $allocator" "$CARGO_TARGET_DIR/release/churn"
    # No name tells the allocator's thread-locals from the others.
    strip -o "$scratch/$allocator" "$CARGO_TARGET_DIR/release/linking"
    shared "$allocator, stripped" "$scratch/$allocator"
    strip -o "$scratch/$allocator-churn" "$CARGO_TARGET_DIR/release/churn"
    churn "memory with $allocator, stripped" "$scratch/$allocator-churn"
done
features=

# --- A crate that numbers threads, and has 4,096 numbers.
built --release --features tracing --bin spans
spans=$CARGO_TARGET_DIR/release/spans
# spans WHAT PATTERN NAMES
spans() {
    if ! run env NARROWBOAT_SHARED_LOCALS="$3" "$spans"; then
        fail "$1" "exit status"
    elif ! grep -qx "$2" "$scratch/out"; then
        fail "$1" "not what was expected"
    else
        pass "$1"
    fi
}
spans "spans of 10,000 goroutines: room for 4,096" 'right: 4096, wrong: 0, panicked: 5904' ''
spans "spans of 10,000 goroutines, sharded-slab left with the processors" \
    'right: 10000, wrong: 0, panicked: 0' sharded-slab
spans "spans of 10,000 goroutines, thread_local as well" 'right: 0, wrong: 10000, panicked: 0' sharded-slab,thread_local

printf '%d passed, %d failed, %d skipped\n' "$passed" "${#failed[@]}" "${#skipped[@]}"
((${#failed[@]} == 0))
