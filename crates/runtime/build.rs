//! How the program is linked.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // Tens of thousands of pointers are put right at each start of a static position-independent
    // program; packed (DT_RELR) they are a fiftieth of the bytes to read.
    println!("cargo:rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
}
