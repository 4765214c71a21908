//! Where things live: the checkout, the user's cache folder, and the Python environment in it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::stage::{self, Error};

/// Root of the checkout.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the checkout").to_owned()
}

/// Cargo's target folder.
pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// `$TANDEM_CACHE`, else `tandem` in the user's cache folder.
pub fn cache() -> PathBuf {
    let var = |name| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    var("TANDEM_CACHE")
        .or_else(|| var("XDG_CACHE_HOME").map(|p| p.join("tandem")))
        .or_else(|| var("HOME").map(|p| p.join(".cache/tandem")))
        .unwrap_or_else(|| target().join("cache"))
}

/// A folder of the cache that `make` fills, once: it has another name until it is whole.
pub fn cached(name: &str, make: impl FnOnce(&Path) -> Result<(), Error>) -> Result<PathBuf, Error> {
    let folder = cache().join(name);
    if folder.exists() {
        return Ok(folder);
    }
    let fresh = cache().join(format!("{name}.{}", std::process::id()));
    fs::create_dir_all(&fresh).map_err(Error::writing(&fresh))?;
    let placed = make(&fresh).and_then(|()| match fs::rename(&fresh, &folder) {
        // Another process has made the same meanwhile.
        Err(_) if folder.exists() => Ok(()),
        result => result.map_err(Error::writing(&folder)),
    });
    if placed.is_err() || fresh.exists() {
        let _ = fs::remove_dir_all(&fresh);
    }
    placed.map(|()| folder)
}

/// The version that `python/requirements.txt` pins a package to.
pub fn pin(name: &str) -> Result<String, Error> {
    let path = root().join("python/requirements.txt");
    let text = fs::read_to_string(&path).map_err(Error::reading(&path))?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix("=="));
    line.map(str::to_owned).ok_or_else(|| Error::Setup(format!("{name} is not pinned in requirements.txt")))
}

/// The virtual environment with ExecuTorch, torch and the tools the project uses.
#[derive(Clone)]
pub struct Python {
    root: PathBuf,
}

impl Python {
    /// Finds the environment, or makes it: once per Python version and pinned pair, several GB and some minutes.
    pub fn ready() -> Result<Self, Error> {
        let requirements = root().join("python/requirements.txt");
        let wanted = fs::read_to_string(&requirements).map_err(Error::reading(&requirements))?;
        let (base, version) = base_python()?;
        let name = format!("venv-py{version}-et{}-torch{}", pin("executorch")?, pin("torch")?);
        let python = Self { root: cache().join(name) };
        let marker = python.root.join("requirements.installed");
        if fs::read_to_string(&marker).is_ok_and(|have| have == wanted) {
            return Ok(python);
        }
        fs::create_dir_all(cache()).map_err(Error::writing(&cache()))?;
        if !python.bin("python").exists() {
            stage::quiet(
                "making a Python environment",
                Command::new(&base).args(["-m", "venv"]).arg(&python.root),
            )
            .map_err(|e| {
                Error::Setup(format!("{e}\nDebian and Ubuntu need the package python3-venv for it"))
            })?;
        }
        let mut pip = Command::new(python.bin("python"));
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"]).arg(&requirements);
        stage::quiet("installing ExecuTorch and torch (several GB the first time)", &mut pip)?;
        fs::write(&marker, wanted).map_err(Error::writing(&marker))?;
        Ok(python)
    }

    /// The environment's folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A program of the environment.
    pub fn bin(&self, name: &str) -> PathBuf {
        self.root.join("bin").join(name)
    }

    /// The installed `executorch` package.
    pub fn executorch(&self) -> Result<PathBuf, Error> {
        let lib = self.root.join("lib");
        let found = fs::read_dir(&lib).map_err(Error::reading(&lib))?.flatten();
        found
            .map(|entry| entry.path().join("site-packages/executorch"))
            .find(|path| path.exists())
            .ok_or_else(|| Error::Setup(format!("no executorch package under {}", lib.display())))
    }

    /// `python` with the checkout's package on its path and the environment's tools first.
    pub fn command(&self) -> Command {
        let mut command = Command::new(self.bin("python"));
        command.current_dir(root()).env("PYTHONPATH", root().join("python")).env("PATH", self.path());
        command.env("PYTHONDONTWRITEBYTECODE", "1");
        command
    }

    /// `PATH` with the environment's programs first.
    pub fn path(&self) -> std::ffi::OsString {
        let rest = std::env::var_os("PATH").unwrap_or_default();
        let all = std::iter::once(self.root.join("bin")).chain(std::env::split_paths(&rest));
        std::env::join_paths(all).unwrap_or(rest)
    }
}

/// A Python of a version ExecuTorch's wheel exists for, `$TANDEM_PYTHON` first.
fn base_python() -> Result<(PathBuf, String), Error> {
    let named = std::env::var_os("TANDEM_PYTHON").map(PathBuf::from);
    let usual =
        ["python3", "python3.12", "python3.11", "python3.13", "python3.10", "python3.14"].map(PathBuf::from);
    for candidate in named.into_iter().chain(usual) {
        let asked = Command::new(&candidate)
            .args(["-c", "import sys; print('%d.%d' % sys.version_info[:2]); print(sys.executable)"])
            .output();
        let Ok(answer) = asked else { continue };
        let text = String::from_utf8_lossy(&answer.stdout).into_owned();
        let mut lines = text.lines();
        if let (Some(version), Some(path)) = (lines.next(), lines.next())
            && ["3.10", "3.11", "3.12", "3.13", "3.14"].contains(&version)
        {
            return Ok((PathBuf::from(path), version.to_owned()));
        }
    }
    Err(Error::Setup("no Python 3.10 to 3.14 found; install one or set TANDEM_PYTHON".to_owned()))
}
