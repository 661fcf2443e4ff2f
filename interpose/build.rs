//! Nothing to build: cargo wants a script where `links` is said, and to know each `cfg`.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-check-cfg=cfg(narrowboat_tsan)");
}
