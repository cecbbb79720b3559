//! Builds the programs that run in guests: without the standard library, without unwinding, static. Cargo builds a
//! workspace with one set of such options, so that the compiler is called here.
//!
//! They are written for x86-64 on Linux. Elsewhere they are empty, and whoever wants to use them says so.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

const OPTIONS: &[&str] = &[
    "--edition=2024",
    "-Copt-level=2",
    "-Clto=fat",
    "-Ccodegen-units=1",
    "-Cpanic=abort",
    "-Cstrip=symbols",
    "-Crelocation-model=static",
    "-Clink-arg=-static",
    "-Clink-arg=-nostartfiles",
    "-Clink-arg=-nostdlib",
    "-Dwarnings",
];

fn main() {
    println!("cargo:rerun-if-changed=programs");
    println!("cargo:rerun-if-changed=src/layout.rs");
    println!("cargo:rerun-if-changed=src/place.rs");
    let directory = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    let target = env::var("TARGET").expect("cargo sets it");
    for name in ["enter", "switch", "unsynced"] {
        let program = directory.join(name);
        if target == "x86_64-unknown-linux-gnu" || target == "x86_64-unknown-linux-musl" {
            build(name, &target, &program);
        } else {
            std::fs::write(&program, []).expect("cargo made the directory");
        }
    }
}

fn build(name: &str, target: &str, program: &Path) {
    let compiler = env::var_os("RUSTC").expect("cargo sets it");
    let built = Command::new(compiler)
        .args(OPTIONS)
        .args(["--crate-name", name, "--target", target, "-o"])
        .arg(program)
        .arg(format!("programs/{name}.rs"))
        .status();
    assert!(
        built.expect("the compiler that compiled this").success(),
        "`programs/{name}.rs` cannot be built"
    );
}
