//! What the tests, the demo and the benches run: the two libraries, the adapter and the CLI, built in release.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::env::{self, Python};
use crate::stage::{self, Error};

/// What a build leaves behind.
pub struct Artifacts {
    /// The Python environment it was built against.
    pub python: Python,
    /// The `tandem` program.
    pub cli: PathBuf,
    /// The adapter's build tree: `libtandem_executorch.so` and the CMake package's install rules.
    pub adapter: PathBuf,
}

/// Builds everything in release.
pub fn build() -> Result<Artifacts, Error> {
    let python = Python::ready()?;
    let executorch = python.executorch()?;
    let adapter = env::target().join("adapter");
    let mut configure = Command::new(python.bin("cmake"));
    configure.current_dir(env::root()).env("PATH", python.path());
    configure.args(["-S", ".", "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release", "-DTANDEM_PROGRAM=ON", "-B"]);
    configure.arg(&adapter);
    configure.arg(format!("-DCMAKE_PREFIX_PATH={}", executorch.display()));
    stage::quiet("configuring the adapter", &mut configure)?;
    let mut compile = Command::new(python.bin("cmake"));
    compile.current_dir(env::root()).env("PATH", python.path()).env("EXECUTORCH_DIR", &executorch);
    stage::quiet("building libraries, adapter and CLI", compile.arg("--build").arg(&adapter))?;
    Ok(Artifacts { python, cli: env::target().join("release/tandem"), adapter })
}

impl Artifacts {
    /// Runs a Python script of the checkout whose product depends on the compiler, the Python package and the script
    /// alone, unless `stamp` says it ran on the very same ones.
    pub fn export(&self, what: &str, script: &[&str], out: &Path) -> Result<(), Error> {
        fs::create_dir_all(out).map_err(Error::writing(out))?;
        let stamp = out.join("inputs.stamp");
        let key = self.fingerprint(script)?;
        if fs::read_to_string(&stamp).is_ok_and(|have| have == key) {
            return Ok(());
        }
        let _ = fs::remove_file(&stamp);
        stage::quiet(what, self.python.command().args(script).arg("--out").arg(out))?;
        fs::write(&stamp, key).map_err(Error::writing(&stamp))
    }

    fn fingerprint(&self, script: &[&str]) -> Result<String, Error> {
        let mut hasher = DefaultHasher::new();
        script.hash(&mut hasher);
        let here = Path::new(script[0]).parent().unwrap_or(Path::new("."));
        let folders = [env::root().join("python"), env::root().join(here)];
        let mut files = vec![env::target().join("release/libtandem_lower.so")];
        for folder in folders {
            collect(&folder, "py", &mut files)?;
        }
        files.sort();
        for file in files {
            file.hash(&mut hasher);
            fs::read(&file).map_err(Error::reading(&file))?.hash(&mut hasher);
        }
        Ok(format!("{:016x}", hasher.finish()))
    }
}

fn collect(folder: &Path, extension: &str, files: &mut Vec<PathBuf>) -> Result<(), Error> {
    for entry in fs::read_dir(folder).map_err(Error::reading(folder))?.flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, extension, files)?;
        } else if path.extension().is_some_and(|e| e == extension) {
            files.push(path);
        }
    }
    Ok(())
}
