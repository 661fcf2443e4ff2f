#!/usr/bin/env bash
# Unpacks what other machines need beside the system, never over it, and prints the directory: a Rust compiler with its
# sources and with std for aarch64, a C compiler and libraries for aarch64, and an emulator of it. From Debian, with lists of
# packages of its own, so that neither root is needed nor anything of the system's changed. Exits with 2, after saying why, if
# it cannot.
set -euo pipefail
cd "$(dirname "$0")/.."

directory=${NARROWBOAT_CROSS:-$PWD/target/cross}
version=4
if [[ $(cat "$directory/complete" 2>/dev/null) == "$version" ]]; then
    printf '%s\n' "$directory"
    exit
fi

give_up() {
    printf '*** no tools for other machines: %s\n' "$*" >&2
    exit 2
}

[[ $(uname -sm) == "Linux x86_64" ]] || give_up "they are unpacked on Linux on x86-64 only"
command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || give_up "there is no apt-get"

rm -rf "$directory"
mkdir -p "$directory"/{bin,root,apt/lists/partial,apt/archives/partial,packages}
apt=(apt-get -q -o APT::Architectures::=amd64 -o APT::Architectures::=arm64
    -o Dir::State::Lists="$directory/apt/lists" -o Dir::Cache="$directory/apt" -o Debug::NoLocking=true)
log=$directory/apt/log
"${apt[@]}" update >"$log" 2>&1 || give_up "apt-get update: $(tail -1 "$log")"
packages=(rustc-web rust-web-clippy rust-web-src libstd-rust-web-dev libstd-rust-web-dev:arm64
    gcc-12-aarch64-linux-gnu cpp-12-aarch64-linux-gnu binutils-aarch64-linux-gnu libgcc-12-dev-arm64-cross
    libgcc-s1-arm64-cross libc6-arm64-cross libc6-dev-arm64-cross linux-libc-dev-arm64-cross
    qemu-user-static libisl23 libmpc3 libmpfr6 libgmp10 libz3-4 libedit2 libxml2)
# The compiler's own libraries have the version in their names.
for package in rustc-web libstd-rust-web-dev; do
    mapfile -t -O "${#packages[@]}" packages < <("${apt[@]/#apt-get/apt-cache}" depends "$package" 2>/dev/null |
        sed -nE 's/^ +Depends: (libstd-rust-web-[0-9.]+)$/\1/p')
done
for package in "${packages[@]}"; do
    mapfile -t -O "${#packages[@]}" packages < <(case $package in libstd-rust-web-[0-9]*)
        "${apt[@]/#apt-get/apt-cache}" depends "$package" 2>/dev/null | sed -nE 's/^ +Depends: (libllvm[0-9]+)$/\1/p' ;; esac)
done
(cd "$directory/packages" && "${apt[@]}" download "${packages[@]}") >"$log" 2>&1 ||
    give_up "apt-get download: $(grep '^E:' "$log" | head -1)"
for package in "$directory"/packages/*.deb; do
    dpkg-deb -x "$package" "$directory/root"
done

# What is large and not used.
cd "$directory/root/usr"
rm -rf share/{doc,man,locale,lintian} bin/*lto-dump* lib/gcc-cross/aarch64-linux-gnu/12/{*san*,lto1,cc1plus} \
    lib/rustlib/aarch64-unknown-linux-gnu/lib/*.so
find bin -name 'qemu-*' ! -name 'qemu-aarch64-static' -delete
cd "$directory"
rm -rf packages apt/lists apt/*.bin apt/archives root/usr/src/rustc-*/{src,compiler}

# run NAME COMMAND: a program that finds the libraries that were unpacked with it.
run() {
    cat >"bin/$1" <<END
#!/bin/sh
LD_LIBRARY_PATH='$directory/root/usr/lib/x86_64-linux-gnu'\${LD_LIBRARY_PATH:+:\$LD_LIBRARY_PATH}
export LD_LIBRARY_PATH
exec '$directory/root/usr/bin/'$2 "\$@"
END
    chmod +x "bin/$1"
}
run rustc rustc
run rustdoc rustdoc
run clippy-driver clippy-driver
run aarch64-cc "aarch64-linux-gnu-gcc-12 '--sysroot=$directory/root' '-L$directory/root/usr/aarch64-linux-gnu/lib' '-B$directory/root/usr/aarch64-linux-gnu/lib'"
run aarch64-ar aarch64-linux-gnu-ar
bin/rustc --version >"$log" 2>&1 || give_up "the compiler does not run: $(head -1 "$log")"
printf '%s\n' "$version" >complete
printf '%s\n' "$directory"
