//! Nothing to build: cargo wants a script where `links` is said.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
}
