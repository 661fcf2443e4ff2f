//! Refuses targets that the runtime has no context switch or system module for, in one sentence.
//! Tells the context switch whether functions have unwind tables.

/// System, CPU and C library. All tests pass there on real machines.
const SUPPORTED: [[&str; 3]; 1] = [["linux", "x86_64", "gnu"]];
/// It compiles there; the README says what has been run.
const EXPERIMENTAL: [[&str; 3]; 6] = [
    ["linux", "aarch64", "gnu"],
    ["linux", "x86_64", "musl"],
    ["linux", "aarch64", "musl"],
    ["macos", "aarch64", ""],
    ["macos", "x86_64", ""],
    ["freebsd", "x86_64", ""],
];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-check-cfg=cfg(narrowboat_no_unwind_tables)");
    println!("cargo::rustc-check-cfg=cfg(narrowboat_asan, narrowboat_tsan)");
    println!("cargo::rerun-if-env-changed=CARGO_ENCODED_RUSTFLAGS");
    let flags = std::env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    let asked = flags.rsplit('\x1f').find_map(|flag| {
        let (_, value) = flag.split_once("force-unwind-tables")?;
        Some(!matches!(value, "=no" | "=n" | "=off" | "=false"))
    });
    if asked == Some(false) {
        println!("cargo::rustc-cfg=narrowboat_no_unwind_tables");
    }
    let of_target = |what: &str| std::env::var(format!("CARGO_CFG_TARGET_{what}")).unwrap_or_default();
    let [os, arch, env] = ["OS", "ARCH", "ENV"].map(of_target);
    let [width, endian] = ["POINTER_WIDTH", "ENDIAN"].map(of_target);
    let known = SUPPORTED.iter().chain(&EXPERIMENTAL).any(|&known| known == [&*os, &*arch, &*env]);
    if !known || width != "64" || endian != "little" {
        println!(
            "cargo::error=Narrowboat runs on Linux on x86-64, and experimentally on Linux on aarch64 (either with glibc \
             or musl), on macOS, and on FreeBSD on x86-64, not on {os} on {arch} ({env}, {width} bits, {endian}-endian): a \
             port adds one folder to runtime/src/arch/ or one module to runtime/src/sys/."
        );
    }
}
