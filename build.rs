//! How the program for musl is linked: `countd incr` is a process for each increment, and what the kernel does to
//! start and end it is most of its time.

use std::env;
use std::path::Path;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=link/order.ld");
    let target = |what: &str| env::var(format!("CARGO_CFG_TARGET_{what}")).unwrap_or_default();
    if target("OS") != "linux" || target("ENV") != "musl" || linker_is_called_directly() {
        return;
    }
    let order = Path::new(env!("CARGO_MANIFEST_DIR")).join("link/order.ld");
    println!("cargo::rustc-link-arg-bins=-Wl,-T,{}", order.display());
    // What has to be relocated as a bitmap: 50 kB less, and a third of the instructions of an increment.
    println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
}

/// Whether the linker takes its options as they are, not behind a C compiler's `-Wl`. Such a one orders the text as
/// it likes: slower by some page faults, and right all the same.
fn linker_is_called_directly() -> bool {
    env::var_os("RUSTC_LINKER").is_some_and(|linker| {
        Path::new(&linker).file_stem().is_some_and(|name| {
            let name = name.to_string_lossy();
            name == "ld" || name.starts_with("ld.") || name.ends_with("lld")
        })
    })
}
