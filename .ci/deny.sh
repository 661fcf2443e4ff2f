#!/usr/bin/env bash
# Licences, sources and known weaknesses of everything that the workspace depends on, by the rules of deny.toml, if
# cargo-deny is installed: cargo install cargo-deny --locked
set -euo pipefail
cd "$(dirname "$0")/.."

if ! cargo deny --version >/dev/null 2>&1; then
    printf '*** SKIPPED: cargo-deny is not installed, so licences and advisories of dependencies have not been checked\n' >&2
    exit 0
fi

checks=(licenses bans sources)
# The database comes from the network. Without it the other rules still hold.
if timeout --kill-after=5 120 cargo deny fetch db; then
    checks+=(advisories)
else
    printf '*** SKIPPED: no database of advisories, so known weaknesses of dependencies have not been looked for\n' >&2
fi
exec cargo deny --workspace check "${checks[@]}"
