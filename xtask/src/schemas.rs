//! Generated code of `schemas/*.fbs`: made with the `flatc` that ExecuTorch's wheel ships, committed, and checked to be
//! current.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::env::{self, Python};
use crate::stage::{self, Error};

/// Regenerates the code, or with `check` compares it with what is committed.
pub fn run(check: bool) -> Result<(), Error> {
    let python = Python::ready()?;
    let flatc = python.executorch()?.join("data/bin/flatc");
    let fresh = env::target().join("schemas");
    fs::create_dir_all(&fresh).map_err(Error::writing(&fresh))?;
    let schemas = env::root().join("schemas");
    let both = [schemas.join("subgraph.fbs"), schemas.join("program.fbs")];
    generate(&flatc, &["--rust", "--gen-object-api"], &fresh, &both)?;
    generate(&flatc, &["--python", "--gen-object-api", "--gen-onefile"], &fresh, &both)?;
    for (generated, committed) in destinations() {
        let (from, to) = (fresh.join(generated), env::root().join(committed));
        let text = fs::read(&from).map_err(Error::reading(&from))?;
        if !check {
            fs::write(&to, text).map_err(Error::writing(&to))?;
        } else if fs::read(&to).map_err(Error::reading(&to))? != text {
            let message = format!("{} is not what the schema gives; run `cargo xtask schemas`", to.display());
            return Err(Error::Check(message));
        }
    }
    Ok(())
}

fn generate(flatc: &Path, kind: &[&str], out: &Path, schemas: &[PathBuf]) -> Result<(), Error> {
    stage::quiet("flatc", Command::new(flatc).args(kind).arg("-o").arg(out).args(schemas)).map(|_| ())
}

/// Generated file and its place in the checkout.
fn destinations() -> [(&'static str, &'static str); 4] {
    [
        ("subgraph_generated.rs", "schemas/src/generated/subgraph_generated.rs"),
        ("program_generated.rs", "schemas/src/generated/program_generated.rs"),
        ("subgraph_generated.py", "python/executorch_tandem/schema/subgraph_generated.py"),
        ("program_generated.py", "python/executorch_tandem/schema/program_generated.py"),
    ]
}
