#!/usr/bin/env bash
# Builds each published crate with the oldest versions of its dependencies that its manifest allows, and runs a small program
# with them. Choosing these versions takes a nightly cargo; the compiler is the usual one.
set -euo pipefail
cd "$(dirname "$0")/.."

if ! cargo +nightly --version >/dev/null 2>&1; then
    printf '*** SKIPPED: no nightly cargo, so the oldest versions that manifests allow have not been tried\n' >&2
    exit 0
fi

root=$PWD
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$root/target}/minimal
# The lock file of the workspace has newer versions, and it must remain as it is.
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
mkdir "$scratch/src"
cd "$scratch"

# program DEPENDENCY: a package that depends on that alone, with the oldest versions.
program() {
    printf '%s\n' '[workspace]' '[package]' 'name = "minimal"' 'version = "0.0.0"' 'edition = "2024"' \
        'rust-version = "1.88"' '[profile.dev]' 'debug = "line-tables-only"' '[dependencies]' "$1" >Cargo.toml
    rm -f Cargo.lock
    cargo +nightly generate-lockfile --quiet -Z minimal-versions
}

# Each crate alone: what another one asks for must not be what makes it build.
echo 'fn main() {}' >src/main.rs
for crate in runtime chan sync net debug actor remote sim; do
    program "narrowboat-$crate = { path = \"$root/$crate\" }"
    printf -- '--> narrowboat-%s\n' "$crate"
    cargo check --quiet
done
program "narrowboat-net = { path = \"$root/net\", features = [\"portable-poller\"] }"
echo '--> narrowboat-net, all features'
cargo check --quiet

cat >src/main.rs <<'END'
use narrowboat::net::{TcpListener, TcpStream};
use narrowboat::{chan, dump, go, sync::Mutex};
use std::io::{Read, Write};
use std::sync::Arc;

fn main() {
    narrowboat::run(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let served = go!(move || {
            for stream in listener.incoming().take(8) {
                go!(move || {
                    let (mut stream, mut byte) = (stream.unwrap(), [0]);
                    stream.read_exact(&mut byte).unwrap();
                    stream.write_all(&byte).unwrap();
                });
            }
        });
        let sum = Arc::new(Mutex::new(0));
        let (done, all) = chan::bounded(0);
        for n in 1..=8 {
            let (sum, done) = (sum.clone(), done.clone());
            go!(move || {
                let (mut stream, mut byte) = (TcpStream::connect(address).unwrap(), [0]);
                stream.write_all(&[n]).unwrap();
                stream.read_exact(&mut byte).unwrap();
                *sum.lock().unwrap() += u32::from(byte[0]);
                done.send(()).unwrap();
            });
        }
        assert_eq!(all.iter().take(8).count(), 8);
        assert_eq!(*sum.lock().unwrap(), 36);
        served.join().unwrap();

        let (tx, rx) = chan::bounded::<()>(0);
        let waits = go!(move || rx.recv().is_err());
        // A backtrace names the function, which takes what reads debug information.
        while !dump().to_string().contains("minimal::main::") {
            narrowboat::sleep(std::time::Duration::from_millis(1));
        }
        drop(tx);
        assert!(waits.join().unwrap());
    });
    println!("ok");
}
END
program "narrowboat = { path = \"$root\" }"
echo '--> narrowboat, and a program that uses it'
cargo tree --quiet -e normal --target x86_64-unknown-linux-gnu --prefix none --no-dedupe -f '{p}' |
    grep -v '(/' | sort -u | sed 's/^/    /'
cargo build --quiet
[[ $(timeout --kill-after=5 60 "$CARGO_TARGET_DIR/debug/minimal") == ok ]]
