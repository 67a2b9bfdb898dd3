//! Compiles `chance.c` and puts it into the program whole, before the C library: see there.

fn main() {
    println!("cargo:rerun-if-changed=src/chance.c");
    for object in cc::Build::new().file("src/chance.c").compile_intermediates() {
        println!("cargo:rustc-link-arg-bins={}", object.display());
        // Some look for it at run time.
        println!("cargo:rustc-link-arg-bins=-Wl,--export-dynamic-symbol=getrandom");
    }
}
