#!/usr/bin/env bash
# Crates that know nothing of Narrowboat, blocking and async, on goroutines, against real servers: see clients. Installs the servers and
# C libraries if it can. What lacks one is skipped, which is said, unless NARROWBOAT_REQUIRE_TOOLS is set: then it fails.
# With a number of seconds it lets all of them run at once for so long instead, while the servers restart. With --build it only
# builds them.
set -euo pipefail
cd "$(dirname "$0")/../clients"
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/../target/clients}

# The servers are looked for where Debian has them, too.
PATH=$PATH:/usr/sbin:$(printf '%s:' /usr/lib/postgresql/*/bin)

# What is missing, each with its package.
missing() {
    local pair
    for pair in redis-server:redis-server mariadbd:mariadb-server postgres:postgresql nats-server:nats-server pkg-config:pkg-config; do
        command -v "${pair%:*}" >/dev/null || printf '%s\n' "${pair#*:}"
    done
    for pair in libcurl:libcurl4-openssl-dev libpq:libpq-dev sqlite3:libsqlite3-dev openssl:libssl-dev; do
        pkg-config --exists "${pair%:*}" 2>/dev/null || printf '%s\n' "${pair#*:}"
    done
}

mapfile -t wanted < <(missing)
if ((${#wanted[@]} > 0)) && command -v apt-get >/dev/null; then
    as_root=()
    if ((EUID != 0)); then
        as_root=(sudo -n)
    fi
    # The servers of the tests are not those that a package would start.
    export DEBIAN_FRONTEND=noninteractive
    "${as_root[@]}" apt-get update -q || true
    "${as_root[@]}" apt-get install -q -y --no-install-recommends "${wanted[@]}" || true
    hash -r
    PATH=$PATH:$(printf '%s:' /usr/lib/postgresql/*/bin)
    mapfile -t wanted < <(missing)
fi
if ((${#wanted[@]} > 0)); then
    printf '*** NOT INSTALLED and not installable here: %s\n*** The clients that need them are SKIPPED.\n' "${wanted[*]}" >&2
fi

# One feature for each C library.
features=()
for pair in libcurl:libcurl libpq:libpq sqlite3:libsqlite3 openssl:libssl; do
    if pkg-config --exists "${pair%:*}" 2>/dev/null; then
        features+=("${pair#*:}")
    fi
done
feature_list=$(IFS=,; printf '%s' "${features[*]}")

cargo fmt --check
cargo clippy --release --no-default-features --features "$feature_list" -- -D warnings
cargo build --release --no-default-features --features "$feature_list"
if [[ ${1-} == --build ]]; then
    exit
fi
program=$CARGO_TARGET_DIR/release/clients

# Servers end with the program that has started them, also if it is ended here.
if (($# > 0)); then
    exec timeout --kill-after=5 $(($1 + 180)) "$program" soak "$1"
fi
timeout --kill-after=5 300 "$program" check
# Both kinds of crawler fetch each page once, and a wait for a future of each kind ends.
for what in goroutines tasks waits; do
    timeout --kill-after=5 60 "$CARGO_TARGET_DIR/release/crawler" "$what"
done
if ((${#wanted[@]} > 0)) && [[ -n ${NARROWBOAT_REQUIRE_TOOLS-} ]]; then
    printf '*** FAILED: clients were skipped\n' >&2
    exit 1
fi
