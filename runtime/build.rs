//! Refuses targets that the runtime has no context switch or system module for, in one sentence.
//! Tells the context switch whether functions have unwind tables.

/// All tests pass there on real machines.
const SUPPORTED: [(&str, &str); 1] = [("linux", "x86_64")];
/// It compiles there; the README says what has been run.
const EXPERIMENTAL: [(&str, &str); 4] =
    [("linux", "aarch64"), ("macos", "aarch64"), ("macos", "x86_64"), ("freebsd", "x86_64")];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-check-cfg=cfg(narrowboat_no_unwind_tables)");
    println!("cargo::rustc-check-cfg=cfg(narrowboat_asan)");
    println!("cargo::rerun-if-env-changed=CARGO_ENCODED_RUSTFLAGS");
    let flags = std::env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    let asked = flags.rsplit('\x1f').find_map(|flag| {
        let (_, value) = flag.split_once("force-unwind-tables")?;
        Some(!matches!(value, "=no" | "=n" | "=off" | "=false"))
    });
    if asked == Some(false) {
        println!("cargo::rustc-cfg=narrowboat_no_unwind_tables");
    }
    let os = std::env::var("CARGO_CFG_TARGET_OS").unwrap_or_default();
    let arch = std::env::var("CARGO_CFG_TARGET_ARCH").unwrap_or_default();
    if !SUPPORTED.iter().chain(&EXPERIMENTAL).any(|&known| known == (os.as_str(), arch.as_str())) {
        println!(
            "cargo::error=Narrowboat runs on Linux on x86-64, and experimentally on Linux on aarch64, on macOS and on \
             FreeBSD on x86-64, not on {os} on {arch}: a port adds one folder to runtime/src/arch/ or one module to \
             runtime/src/sys/."
        );
    }
}
