#!/usr/bin/env bash
# Packages each crate as for publishing, builds every package from its siblings' packages, and shows what is in them.
# Fails if a package lacks something, or has something that does not belong there.
set -euo pipefail
cd "$(dirname "$0")/.."

version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)
# Each crate with its folder. A crate is after those that it depends on.
crates=(narrowboat-runtime:runtime narrowboat-chan:chan narrowboat-future:future narrowboat-sync:sync narrowboat-net:net narrowboat-interpose:interpose narrowboat-debug:debug narrowboat-top:top narrowboat-actor:actor narrowboat-remote:remote narrowboat-sim:sim narrowboat:.)
# Cargo keeps what it has unpacked and built of the siblings that an earlier run has packaged: they have the same version,
# but not the same code.
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-target}/packages
rm -rf "$CARGO_TARGET_DIR" "${CARGO_HOME:-$HOME/.cargo}"/registry/{src,cache}/-*/narrowboat-*
packages=$CARGO_TARGET_DIR/package
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
failed=0

# wrong PACKAGE WHAT
wrong() {
    printf '*** %s: %s\n' "$1" "$2" >&2
    failed=1
}

# sources FOLDER: the files that the package must have, sorted, without those that cargo writes.
sources() {
    (
        cd "$1"
        printf '%s\n' README.md LICENSE-APACHE LICENSE-MIT
        find src -name '*.rs'
        if [[ -e src/page.html ]]; then
            echo src/page.html
        fi
        if [[ -e build.rs ]]; then
            echo build.rs
        fi
        if [[ $1 == . ]]; then
            # The page on debuggers names the script; the pages on traces and on the window show pictures.
            printf '%s\n' CHANGELOG.md tools/gdb/narrowboat.py docs/diagnostics/{trace_http.svg,window.png}
        fi
        # The pages that the documentation includes. All of them are named from the folder src.
        # A program has none.
        [[ ! -e src/lib.rs ]] || sed -n 's/.*include_str!("\.\.\/\([^"]*\)").*/\1/p' src/lib.rs
    ) | sort
}

# dependencies MANIFEST: KIND NAME KEY VALUE of each, from the tables that cargo writes.
dependencies() {
    sed -n '/^\[.*dependencies\./,/^$/p' "$1" | awk '
        /^\[/ {
            split(substr($0, 2, length($0) - 2), parts, /dependencies\./)
            kind = parts[1] "dependencies"
            gsub(/ /, "", kind)
            name = parts[2]
        }
        / = / { print kind, name, $1, $3 }'
}

# Tests and examples are not published, and cargo says so of each.
if ! cargo package --workspace --exclude narrowboat-testing --exclude narrowboat-loom-on-threads --allow-dirty 2>"$scratch/log"; then
    cat "$scratch/log" >&2
    exit 1
fi
grep -Ev '^warning: ignoring (test|example|benchmark) .* is not included in the published package$' "$scratch/log" >&2 || true

for crate in "${crates[@]}"; do
    name=${crate%:*} folder=${crate#*:}
    package=$name-$version
    tar -xzf "$packages/$package.crate" -C "$scratch"
    (cd "$scratch/$package" && find . ! -type d | sed 's/^\.\///' | sort) >"$scratch/has"
    printf '\n%s: %d files, %d bytes compressed\n' "$package" "$(wc -l <"$scratch/has")" \
        "$(stat -c %s "$packages/$package.crate")"
    sed 's/^/    /' "$scratch/has"

    { sources "$folder" && printf '%s\n' Cargo.toml Cargo.toml.orig Cargo.lock; } | sort -u >"$scratch/wanted"
    # Only there where the sources are a git repository.
    grep -vx '\.cargo_vcs_info\.json' "$scratch/has" >"$scratch/compared"
    while read -r file; do wrong "$package" "$file is missing"; done < <(comm -13 "$scratch/compared" "$scratch/wanted")
    while read -r file; do wrong "$package" "$file does not belong there"; done < <(comm -23 "$scratch/compared" "$scratch/wanted")
    # Links to licences are files in the package.
    for file in LICENSE-APACHE LICENSE-MIT; do
        [[ -f $scratch/$package/$file && ! -L $scratch/$package/$file ]] && cmp -s "$file" "$scratch/$package/$file" ||
            wrong "$package" "$file is not the project's"
    done

    manifest=$scratch/$package/Cargo.toml
    for key in description documentation readme license keywords categories rust-version; do
        grep -q "^$key = " "$manifest" || wrong "$package" "the manifest has no $key"
    done
    tr -d '\n' <"$manifest" | grep -q 'targets = \[ *"x86_64-unknown-linux-gnu", *"aarch64-unknown-linux-gnu"' ||
        wrong "$package" "docs.rs is not told the targets"
    dependencies "$manifest" >"$scratch/dependencies"
    while read -r kind dependency key value; do
        case $kind:$dependency:$key in
        *dev-dependencies:narrowboat* | *:path) wrong "$package" "$kind has $dependency, $key = $value" ;;
        *:narrowboat*:version) [[ $value == "\"=$version\"" ]] || wrong "$package" "$dependency is not pinned: $value" ;;
        esac
    done <"$scratch/dependencies"
    # The tables are read as cargo writes them today.
    grep -q '^dependencies ' "$scratch/dependencies" || wrong "$package" "no dependency found in its manifest"
done

((failed == 0)) || exit 1
printf '\n%d packages have what they need and nothing else\n' "${#crates[@]}"
