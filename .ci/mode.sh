#!/usr/bin/env bash
# The optimised suite in another mode of the runtime: mode.sh VARIABLE=VALUE...
# Documentation examples are left out: they show the API, not the modes.
set -euo pipefail
cd "$(dirname "$0")/.."

cargo build --release --examples
exec env "$@" timeout --kill-after=10 600 cargo test --workspace --release --tests
