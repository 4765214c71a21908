//! Cross compilers, arm64 libraries and the emulator, unpacked from the distribution's packages into the cache folder.
//! Nothing is installed and nothing needs root.

use std::ffi::OsStr;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::apt::{Apt, version};
use super::cpu::{CPUS, Cpu};
use super::rust::{self, Rust, TARGET};
use crate::env;
use crate::stage::{self, Error};

/// The first QEMU with SME2.
const LEAST_EMULATOR: [u64; 2] = [10, 1];

/// C and C++ for arm64.
const COMPILERS: [&str; 2] = ["gcc-aarch64-linux-gnu", "g++-aarch64-linux-gnu"];

/// What programs need at run time, of the release itself: with the cross packages' older C library, threads hang under
/// emulation.
const LIBRARIES: [&str; 3] = ["libc6:arm64", "libgcc-s1:arm64", "libstdc++6:arm64"];

/// Packages of the host that dependencies name and that every host has: a second C library beside the system's loader
/// would break the tools.
const LEFT_OUT: [&str; 2] = ["libc6_", "libc-bin_"];

/// Cross tools that others call; the linker's name tells rustc which flavour it is.
const TOOLS: [(&str, &str); 4] = [
    ("aarch64-linux-gnu-gcc", "--sysroot=$root"),
    ("aarch64-linux-gnu-g++", "--sysroot=$root"),
    ("aarch64-linux-gnu-ar", ""),
    ("aarch64-linux-gnu-nm", ""),
];

/// Everything needed to build for arm64 and to run what was built.
pub struct Toolchain {
    folder: PathBuf,
    rust: Rust,
}

impl Toolchain {
    /// Finds the toolchain, or downloads it: once per recipe, some hundred MB.
    pub fn ready() -> Result<Self, Error> {
        let rust = Rust::choose()?;
        let mut hasher = DefaultHasher::new();
        (rust == Rust::Debian, rust::LEAST, COMPILERS, LIBRARIES, TOOLS, release()).hash(&mut hasher);
        let name = format!("arm-{}-{:08x}", release(), hasher.finish() as u32);
        let folder = env::cached(&name, |fresh| Self { folder: fresh.to_owned(), rust }.make())?;
        Ok(Self { folder, rust })
    }

    /// Where it lies.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    fn make(&self) -> Result<(), Error> {
        let apt = Apt::new(&self.folder.join("apt"))?;
        let emulator = apt.newest("qemu-user", &LEAST_EMULATOR)?;
        let mut with_dependencies = COMPILERS.map(str::to_owned).to_vec();
        let mut alone = LIBRARIES.map(str::to_owned).to_vec();
        alone.push(format!("qemu-user={emulator}"));
        if self.rust == Rust::Debian {
            let rustc = apt.newest("rustc-web", &version(rust::LEAST)).map_err(|e| {
                Error::Setup(format!("rustup cannot add the target {TARGET}, and {e}; one of them is needed"))
            })?;
            with_dependencies.push(format!("rustc-web={rustc}"));
            with_dependencies.push(format!("libstd-rust-web-dev={rustc}"));
            alone.push(format!("libstd-rust-web-dev:arm64={rustc}"));
        }
        apt.download_with_dependencies(&with_dependencies)?;
        apt.download(&alone)?;
        self.unpack(&apt.archives())?;
        fs::remove_dir_all(self.folder.join("apt")).map_err(Error::writing(&self.folder))?;
        self.wrap()?;
        self.check()
    }

    fn unpack(&self, archives: &Path) -> Result<(), Error> {
        let root = self.folder.join("root");
        let files = fs::read_dir(archives).map_err(Error::reading(archives))?.flatten();
        let packages = files.map(|file| file.path()).filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let left_out = name.ends_with("_amd64.deb") && LEFT_OUT.iter().any(|left| name.starts_with(left));
            name.ends_with(".deb") && !left_out
        });
        let each = "root=$0; for package; do dpkg-deb -x \"$package\" \"$root\"; done";
        let mut unpack = Command::new("sh");
        stage::quiet("unpacking packages", unpack.args(["-ec", each]).arg(&root).args(packages))?;
        // Releases with everything under /usr have these as links, which no package brings.
        for name in ["lib", "lib64"] {
            let (link, to) = (root.join(name), Path::new("usr").join(name));
            if !link.exists() && root.join(&to).exists() {
                symlink(to, &link).map_err(Error::writing(&link))?;
            }
        }
        Ok(())
    }

    /// Scripts that call the unpacked programs with the unpacked libraries, wherever the folder lies.
    fn wrap(&self) -> Result<(), Error> {
        let bin = self.folder.join("bin");
        fs::create_dir_all(&bin).map_err(Error::writing(&bin))?;
        let rustc = (self.rust == Rust::Debian).then_some(("rustc", "--sysroot=$root/usr"));
        for (name, sysroot) in TOOLS.into_iter().chain(rustc) {
            let text = format!(
                "#!/bin/sh\nroot=${{0%/*}}/../root\n\
                 LD_LIBRARY_PATH=$root/usr/lib/x86_64-linux-gnu exec \"$root/usr/bin/{name}\" {sysroot} \"$@\"\n"
            );
            let path = bin.join(name);
            fs::write(&path, text).map_err(Error::writing(&path))?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).map_err(Error::writing(&path))?;
        }
        Ok(())
    }

    /// A C++ program with a thread, built and run: what is not here fails now.
    fn check(&self) -> Result<(), Error> {
        let (source, program) = (self.folder.join("check.cpp"), self.folder.join("check"));
        let text = "#include <cstdio>\n#include <thread>\nint main() { std::thread([] { std::puts(\"ok\"); }).join(); }\n";
        fs::write(&source, text).map_err(Error::writing(&source))?;
        let mut compile = Command::new(self.bin("aarch64-linux-gnu-g++"));
        stage::quiet("compiling for arm64", compile.arg("-pthread").arg(&source).arg("-o").arg(&program))?;
        if self.rust == Rust::Debian {
            stage::quiet("starting rustc", Command::new(self.bin("rustc")).arg("--version"))?;
        }
        let mut run = self.emulated(&CPUS[0], &program);
        stage::limited("running under the emulator", &mut run, Duration::from_secs(60)).map(|_| ())
    }

    /// Where arm64 programs find their libraries.
    pub fn root(&self) -> PathBuf {
        self.folder.join("root")
    }

    /// A cross tool.
    pub fn bin(&self, name: &str) -> PathBuf {
        self.folder.join("bin").join(name)
    }

    /// A command with what cargo, the cc crate and CMake need to find for arm64.
    pub fn prepare(&self, command: &mut Command, path: &OsStr) {
        let all = std::iter::once(self.folder.join("bin")).chain(std::env::split_paths(path));
        command.env("PATH", std::env::join_paths(all).unwrap_or_else(|_| path.to_owned()));
        command
            .env("CARGO_TARGET_DIR", cargo_target())
            .env_remove("RUSTFLAGS")
            .env_remove("CARGO_ENCODED_RUSTFLAGS");
        command.env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER", self.bin("aarch64-linux-gnu-gcc"));
        if self.rust == Rust::Debian {
            command.env("RUSTC", self.bin("rustc"));
        }
    }

    /// An arm64 program under the emulator.
    pub fn emulated(&self, cpu: &Cpu, program: &Path) -> Command {
        let root = self.root();
        let mut command = Command::new(root.join("usr/bin/qemu-aarch64"));
        command.arg("-L").arg(root).args(["-cpu", cpu.model]).arg(program);
        command
    }
}

/// Where cargo builds for arm64: apart, since Debian's rustc is not the project's.
pub fn cargo_target() -> PathBuf {
    env::target().join("arm/cargo")
}

/// The distribution's release, as `/etc/os-release` calls it.
fn release() -> String {
    let text = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    name.unwrap_or("unknown").trim_matches('"').to_owned()
}
