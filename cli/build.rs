//! Compiles the bridge to ExecuTorch and the adapter, against the headers and libraries of the installed package.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

const ADAPTER: [&str; 3] = ["backend.cpp", "constants.cpp", "delegate.cpp"];
const LIBRARIES: [&str; 4] =
    ["executorch", "executorch_kernels_optimized", "executorch_threadpool", "executorch_backend_xnnpack"];

fn main() {
    let executorch = executorch();
    let ffi = Path::new(env!("CARGO_MANIFEST_DIR")).join("../ffi");
    let mut bridge = cxx_build::bridge("src/bridge.rs");
    configure(&mut bridge, &executorch, &ffi);
    bridge.files(["cpp/host.cpp", "cpp/collector.cpp"]).include("cpp").compile("tandem_cli_bridge");

    let mut adapter = cc::Build::new();
    configure(&mut adapter, &executorch, &ffi);
    // ExecuTorch exports no type information of the interface that the backend implements.
    adapter.flag("-fno-rtti").flag("-fno-exceptions");
    adapter.files(ADAPTER.map(|file| ffi.join("adapter").join(file))).compile("tandem_cli_adapter");

    let lib = executorch.join("lib");
    println!("cargo:rustc-link-search=native={}", lib.display());
    for name in LIBRARIES {
        println!("cargo:rustc-link-arg-bins=-Wl,--push-state,--no-as-needed,-l{name},--pop-state");
    }
    println!("cargo:rustc-link-arg-bins=-Wl,-rpath,{}", lib.display());
    for folder in ["cpp", "src/bridge.rs", "../ffi/adapter", "../ffi/include"] {
        println!("cargo:rerun-if-changed={folder}");
    }
    println!("cargo:rerun-if-env-changed=EXECUTORCH_DIR");
}

fn configure(build: &mut cc::Build, executorch: &Path, ffi: &Path) {
    let include = executorch.join("include");
    build
        .cpp(true)
        .std("c++17")
        .include(ffi.join("include"))
        .include(ffi.join("adapter"))
        .flag("-isystem")
        .flag(&include)
        .flag("-isystem")
        .flag(include.join("executorch/runtime/core/portable_type/c10"))
        .define("C10_USING_CUSTOM_GENERATED_MACROS", None)
        .define("ET_USE_THREADPOOL", None)
        .define("ET_EVENT_TRACER_ENABLED", None)
        .flag("-Wno-deprecated-declarations");
}

/// The installed `executorch` package: `$EXECUTORCH_DIR`, else what `python3` finds, else what `cargo xtask` installed.
fn executorch() -> PathBuf {
    let named = env::var_os("EXECUTORCH_DIR").map(PathBuf::from);
    let mut candidates = named.into_iter().chain(of_python()).chain(of_xtask());
    if let Some(folder) =
        candidates.find(|f| f.join("include/executorch/runtime/backend/interface.h").exists())
    {
        return folder;
    }
    eprintln!(
        "tandem-cli needs ExecuTorch's headers and libraries, which its Python wheel brings. Either\n\
         run `cargo xtask build`, which sets everything up, or set EXECUTORCH_DIR to the folder that\n    \
         python3 -c \"{FIND}\"\n\
         prints in an environment with executorch 1.5 installed."
    );
    std::process::exit(1);
}

const FIND: &str =
    "import importlib.util as u; print(u.find_spec('executorch').submodule_search_locations[0])";

fn of_python() -> Option<PathBuf> {
    let output = Command::new("python3").args(["-c", FIND]).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let path = text.trim();
    (output.status.success() && !path.is_empty()).then(|| PathBuf::from(path))
}

/// Packages in the environments that `cargo xtask` keeps in the user's cache folder, the newest name first.
fn of_xtask() -> Vec<PathBuf> {
    let var = |name| env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let cache = var("TANDEM_CACHE")
        .or_else(|| var("XDG_CACHE_HOME").map(|p| p.join("tandem")))
        .or_else(|| var("HOME").map(|p| p.join(".cache/tandem")));
    let folders = |folder: PathBuf| -> Vec<PathBuf> {
        let mut found: Vec<PathBuf> =
            folder.read_dir().into_iter().flatten().flatten().map(|entry| entry.path()).collect();
        found.sort();
        found.reverse();
        found
    };
    let environments = cache.into_iter().flat_map(folders);
    let libraries = environments.flat_map(|environment| folders(environment.join("lib")));
    libraries.map(|python| python.join("site-packages/executorch")).collect()
}
