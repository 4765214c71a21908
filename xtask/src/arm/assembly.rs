//! The assembly of the matrix unit for systems that no test runs on: it must at least assemble there.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::env;
use crate::stage::{self, Error};

/// Targets, and the file with their symbols' form.
const TARGETS: [(&str, &str); 4] = [
    ("aarch64-unknown-linux-gnu", "elf.s"),
    ("aarch64-linux-android", "elf.s"),
    ("aarch64-apple-darwin", "macho.s"),
    ("aarch64-apple-ios", "macho.s"),
];

/// A crate of assembly alone: these targets' standard library is not at hand.
const CRATE: &str = r#"#![feature(no_core, rustc_attrs, decl_macro, lang_items)]
#![no_core]
#![crate_type = "lib"]
#[lang = "pointee_sized"]
pub trait PointeeSized {}
#[lang = "meta_sized"]
pub trait MetaSized: PointeeSized {}
#[lang = "sized"]
pub trait Sized: MetaSized {}
#[rustc_builtin_macro]
pub macro global_asm() {}
#[rustc_builtin_macro]
pub macro include_str() {}
global_asm!(include_str!("all.s"), options(raw));
"#;

/// Assembles every file that the kernels include, in their order.
pub fn run() -> Result<(), Error> {
    let sources = env::root().join("backend/kernels/src/sme2");
    let folder = env::target().join("arm/assembly");
    fs::create_dir_all(&folder).map_err(Error::writing(&folder))?;
    write(&folder.join("assembly.rs"), CRATE)?;
    let entries = read(&sources.join("entries.rs"))?;
    for (target, symbols) in TARGETS {
        let mut all = read(&sources.join(symbols))?;
        for file in included(&entries) {
            all += &read(&sources.join(file))?;
        }
        write(&folder.join("all.s"), &all)?;
        assemble(&folder, target)?;
    }
    Ok(())
}

fn read(path: &Path) -> Result<String, Error> {
    fs::read_to_string(path).map_err(Error::reading(path))
}

fn write(path: &Path, text: &str) -> Result<(), Error> {
    fs::write(path, text).map_err(Error::writing(path))
}

/// Names in `include_str!("…")`, but for the symbols'.
fn included(entries: &str) -> impl Iterator<Item = &str> {
    let names = entries.split("include_str!(\"").skip(1).filter_map(|rest| rest.split('"').next());
    names.filter(|name| !TARGETS.iter().any(|(_, symbols)| symbols == name))
}

fn assemble(folder: &Path, target: &str) -> Result<(), Error> {
    let mut rustc = Command::new("rustc");
    // A crate without `core` is not for stable compilers otherwise.
    rustc.current_dir(folder).env("RUSTC_BOOTSTRAP", "1");
    rustc.args(["--edition", "2024", "--emit", "obj", "--target", target, "assembly.rs"]);
    stage::quiet(&format!("assembling for {target}"), &mut rustc).map(|_| ())
}
