//! Says how the library is linked.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // Threads that end call into the library as long as the process lives, so dlclose(3) must not unmap it.
    println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
}
