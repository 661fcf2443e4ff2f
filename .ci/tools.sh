#!/usr/bin/env bash
# Installs what the tests use beyond Rust. Fails, after saying so, if something is still missing at the end.
set -euo pipefail

# Each with the package that it comes in.
declare -A tools=([curl]=curl [wrk]=wrk [valgrind]=valgrind [openssl]=openssl [dig]=bind9-dnsutils
    [gdb]=gdb [perf]=linux-perf [go]=golang-go [chromium]=chromium
    [redis-cli]=redis-tools [redis-benchmark]=redis-tools [nats-server]=nats-server)
# Modules of Python 3, likewise. The system's own Python has them, if another comes first in the path.
declare -A modules=([redis]=python3-redis)

# Miri, and std's sources for it, if there is a nightly compiler that can have them. `.ci/miri.sh` says so if there is none.
if command -v rustup >/dev/null && cargo +nightly --version >/dev/null 2>&1 && ! cargo +nightly miri --version >/dev/null 2>&1; then
    rustup +nightly component add miri rust-src || true
fi

# Debian has servers where not all users look.
PATH=$PATH:/usr/sbin

missing() {
    local tool module
    {
        for tool in "${!tools[@]}"; do
            command -v "$tool" >/dev/null || printf '%s\n' "${tools[$tool]}"
        done
        for module in "${!modules[@]}"; do
            python3 -c "import $module" 2>/dev/null || /usr/bin/python3 -c "import $module" 2>/dev/null ||
                printf '%s\n' "${modules[$module]}"
        done
    } | sort -u
}

mapfile -t wanted < <(missing)
if ((${#wanted[@]} == 0)); then
    exit 0
fi

as_root=()
if ((EUID != 0)); then
    as_root=(sudo -n)
fi
if command -v apt-get >/dev/null; then
    "${as_root[@]}" apt-get update -q || true
    "${as_root[@]}" apt-get install -q -y --no-install-recommends "${wanted[@]}" || true
fi

mapfile -t wanted < <(missing)
if ((${#wanted[@]} > 0)); then
    printf '*** NOT INSTALLED and not installable here: %s\n*** The tests that need them will report SKIPPED.\n' "${wanted[*]}" >&2
    exit 1
fi
