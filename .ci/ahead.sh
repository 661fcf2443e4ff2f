#!/usr/bin/env bash
# Builds what later steps of .ci/run test, and what is only compiled, while tests run that wait for most of their time.
set -euo pipefail
cd "$(dirname "$0")/.."

# What has its turn is said with the second in which it has it.
turn() {
    printf -- '--> %s (%d s)\n' "$*" "$SECONDS"
    "$@"
}

# A failure of the others is to be seen, too.
failed=0
turn cargo test -q --workspace --no-run || failed=1
turn .ci/clients.sh --build || failed=1
turn .ci/aarch64.sh --build || failed=1
turn .ci/targets.sh || failed=1
turn .ci/lto.sh --build || failed=1
exit "$failed"
