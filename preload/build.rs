//! Says how the library is linked.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // Threads that end call into the library as long as the process lives, so dlclose(3) must not unmap it.
    println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
    // Fork handlers run in reverse order. The library's have to run last, since they take the locks of malloc, so its
    // constructors come before those of all others.
    println!("cargo:rustc-cdylib-link-arg=-Wl,-z,initfirst");
}
