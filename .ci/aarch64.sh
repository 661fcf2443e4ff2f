#!/usr/bin/env bash
# Builds for Linux on aarch64 and runs tests under an emulator: aarch64.sh [FILTER]. With --build it only builds them.
# Says how many tests ran, and which were skipped, by name. The compiler and the emulator come from .ci/cross.sh.
#
# It runs what depends on the CPU: the tests inside of the crates, and of the whole programs those that are about stacks,
# thread-locals, switches, waits of std and of the C library, and sockets. With NARROWBOAT_AARCH64=all, the whole workspace.
#
# What the emulator does differently, and what that means here:
# - It keeps account of each page of address space, so the program gets 8 GiB of it and not the terabytes that the runtime
#   reserves: stacks are smaller than their default.
# - A program that it starts must be found by the kernel as one for the emulator. That is told to a private instance of
#   binfmt_misc, in a namespace which ends with this script.
set -euo pipefail
cd "$(dirname "$0")/.."

skip_all() {
    printf '*** SKIPPED: nothing has been run on aarch64: %s\n' "$*" >&2
    exit 0
}

cross=$(.ci/cross.sh) || skip_all "no cross compiler and emulator"
target=aarch64-unknown-linux-gnu
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target}/aarch64
export CARGO_BUILD_TARGET=$target RUSTC=$cross/bin/rustc
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=$cross/bin/aarch64-cc
export CC_aarch64_unknown_linux_gnu=$cross/bin/aarch64-cc AR_aarch64_unknown_linux_gnu=$cross/bin/aarch64-ar
export CARGO_INCREMENTAL=0

inside() {
    # shellcheck disable=SC2016
    unshare --user --map-root-user --mount bash -c '
        mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc
        magic="\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00"
        mask="\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff"
        printf %s ":aarch64:M::$magic:$mask:$1/root/usr/bin/qemu-aarch64-static:F" >/proc/sys/fs/binfmt_misc/register
        export QEMU_LD_PREFIX=$1/root/usr/aarch64-linux-gnu QEMU_RESERVED_VA=8G
        shift
        "$@"' inside "$cross" "$@"
}
inside true 2>/dev/null || skip_all "the kernel has no binfmt_misc in a user namespace (Linux 6.7)"

# Tests that cannot pass under the emulator, with the reason.
declare -A skipped=(
    [a_blocked_thread_shows_its_call]="/proc shows the emulator's own calls, by the numbers of another CPU"
    [a_limit_that_not_even_the_smallest_stacks_fit_is_an_error_that_says_so]="the emulator does not live within the limit"
    [child_names_a_deadlock_on_locks_of_std]="the emulator has a thread of its own, so the threads never all wait"
    [frames_larger_than_the_guard_do_not_get_past_it]="asks for the default size of stacks"
    [goroutines_that_find_no_memory_for_a_stack_wait_at_rest_and_hold_up_no_others]="needs a limit on address space"
    [goroutines_that_find_no_memory_on_a_processor_at_rest_start_once_there_is_some]="needs a limit on address space"
    [nothing_is_left_of_those_that_have_ended]="counts memory, and so the code that the emulator translates"
    [segments_give_way_when_memory_is_short]="needs a limit on address space"
    [stacks_are_never_huge_pages]="smaps shows the emulator's mappings"
    [things_that_are_done_once]="tells its steps apart by milliseconds"
    [what_is_not_mapped_is_not_copied]="the emulator does not know process_vm_readv"
)
arguments=()
for name in "${!skipped[@]}"; do
    arguments+=(--skip "$name")
done

log=$(mktemp)
last=$(mktemp)
trap 'rm -f "$log" "$last"' EXIT
failed=0

# What is built, and so what runs.
if [[ ${NARROWBOAT_AARCH64-} == all ]]; then
    packages=(--workspace)
    targets=(--tests)
else
    packages=(-p narrowboat-runtime -p narrowboat-sync -p narrowboat-net -p narrowboat)
    targets=(--lib)
    for test in torture_stacks torture_locals as_threads goroutines interposed panics std_locks system_stack \
        thread_locals unwinding sockets tcp; do
        targets+=(--test "$test")
    done
fi

# run VARIABLES... -- ARGUMENT...: runs tests under the emulator. What they say goes to `last`.
run() {
    local variables=() status=0
    while [[ $1 != -- ]]; do
        variables+=("$1")
        shift
    done
    shift
    printf -- '--> %s %s\n' "${variables[*]}" "$*"
    inside env "${variables[@]}" timeout --kill-after=10 1800 \
        cargo test "${packages[@]}" --release --no-fail-fast "$@" -- "${arguments[@]}" ${filter:+"$filter"} >"$last" 2>&1 ||
        status=$?
    grep -E '^(test result: FAILED|     Running |failures:|test .* FAILED$|---- |error: |thread .* panicked)' -A2 "$last" ||
        true
    return "$status"
}

# As `run`. Test programs that fail are run once more, alone, as in .ci/twice.sh.
tests() {
    local variables=() failed argument
    run "$@" && cat "$last" >>"$log" && return
    cat "$last" >>"$log"
    mapfile -t failed < <(sed -nE 's/^    `-p [^ ]+ (--lib|--test [^ ]+).*`$/\1/p' "$last" | sort -u)
    ((${#failed[@]} > 0)) || return 1
    for argument in "$@"; do
        [[ $argument != -- ]] || break
        variables+=("$argument")
    done
    # shellcheck disable=SC2086
    run "${variables[@]}" -- ${failed[*]} || return 1
    mkdir -p target
    printf 'FLAKY on aarch64: passed when run again: %s\n' "${failed[*]}" | tee -a target/flaky
}

filter=${1-}
export NARROWBOAT_TEST_SCALE=${NARROWBOAT_TEST_SCALE-5}
# The emulator and other programs at the same time: a goroutine may keep its processor for long.
export NARROWBOAT_STUCK=${NARROWBOAT_STUCK-0}
if [[ ${NARROWBOAT_AARCH64-} == all ]]; then
    nice cargo build --workspace --release --examples
fi
nice cargo test "${packages[@]}" --release "${targets[@]}" --no-run
if [[ $filter == --build ]]; then
    exit
fi
tests -- "${targets[@]}" || failed=1
if [[ -z $filter ]]; then
    torture=(--test torture_stacks --test torture_locals)
    tests NARROWBOAT_STRESS=evict -- "${torture[@]}" || failed=1
    tests NARROWBOAT_WORKERS=4 -- "${torture[@]}" || failed=1
    # One instruction at a time, so that the signal of a profiler comes at every one.
    tests QEMU_SINGLESTEP=1 -- --test unwinding || failed=1
    # Larger pages. The emulator then ends when a file is mapped to find the lines of a backtrace.
    for page in 16384 65536; do
        tests "QEMU_PAGESIZE=$page" RUST_BACKTRACE=0 -- --test torture_locals --test goroutines || failed=1
    done
fi

printf '\nskipped under the emulator, where they are among the tests:\n'
for name in "${!skipped[@]}"; do
    printf '    %s: %s\n' "$name" "${skipped[$name]}"
done | sort
awk '/^test result: / { passed += $4; failed += $6; ignored += $8; skipped += $12 }
    END { printf "aarch64: %d tests run, %d passed, %d failed, %d ignored, %d skipped by name\n",
        passed + failed, passed, failed, ignored, skipped }' "$log"
exit "$failed"
