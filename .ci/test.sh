#!/usr/bin/env bash
# The command of the README; with --release, the same optimised.
set -euo pipefail
cd "$(dirname "$0")/.."

exec .ci/twice.sh 900 "$@"
