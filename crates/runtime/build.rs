//! How the program is linked.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // Tens of thousands of pointers are put right at each start of a static position-independent
    // program; packed (DT_RELR) they are a fiftieth of the bytes to read.
    println!("cargo:rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    // Functions that are the same are there once.
    if std::env::var("PROFILE").is_ok_and(|profile| profile == "release") {
        println!("cargo:rustc-link-arg-bins=-Wl,--icf=all");
    }
    // What enters a container starts over before its C library has begun (`sys::entry`).
    if std::env::var("CARGO_CFG_TARGET_ARCH").is_ok_and(|arch| arch == "x86_64") {
        println!("cargo:rustc-link-arg-bins=-Wl,-e,estiba_entry");
    }
}
