#!/usr/bin/env bash
# The command of the README; with --release, the same optimised.
set -euo pipefail
cd "$(dirname "$0")/.."

# The limit turns a deadlock into a failure.
exec timeout --kill-after=10 900 cargo test --workspace "$@"
