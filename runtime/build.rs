//! Refuses targets that the runtime has no context switch or system module for, in one sentence.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let os = std::env::var("CARGO_CFG_TARGET_OS").unwrap_or_default();
    let arch = std::env::var("CARGO_CFG_TARGET_ARCH").unwrap_or_default();
    if (os.as_str(), arch.as_str()) != ("linux", "x86_64") {
        println!(
            "cargo::error=Narrowboat runs on Linux on x86-64 so far, not on {os} on {arch}: a port adds one file \
             to runtime/src/arch/ and one folder to runtime/src/sys/."
        );
    }
}
