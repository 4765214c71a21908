//! `include/tandem.h` and the structures and functions here are the same: a C compiler checks every size, offset and
//! constant that Rust states.

use std::fmt::Write;
use std::fs;
use std::mem::{offset_of, size_of};
use std::path::Path;
use std::process::Command;

use tandem_ffi::{MAX_RANK, Status, abi};
use tandem_schemas::program::DType;

macro_rules! layout {
    ($out:ident, $rust:ty, $c:literal, $($field:ident),+) => {
        writeln!($out, "_Static_assert(sizeof({}) == {}, \"{} size\");", $c, size_of::<$rust>(), $c).unwrap();
        $(writeln!(
            $out,
            "_Static_assert(offsetof({}, {f}) == {}, \"{}.{f}\");",
            $c, offset_of!($rust, $field), $c, f = stringify!($field)
        ).unwrap();)+
    };
}

fn header() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("include/tandem.h");
    fs::read_to_string(path).unwrap()
}

fn assertions() -> String {
    let mut c = String::from("#include \"tandem.h\"\n");
    layout!(c, abi::Constants, "tandem_constants", ctx, get_data, release);
    layout!(c, abi::LoadOption, "tandem_option", key, value);
    layout!(c, abi::Tensor, "tandem_tensor", dtype, rank, sizes, dim_order, data, bytes);
    layout!(
        c,
        abi::Call,
        "tandem_call",
        inputs,
        num_inputs,
        outputs,
        num_outputs,
        threads,
        step,
        step_ctx,
        entry
    );
    layout!(c, abi::TensorSpec, "tandem_tensor_spec", name, dtype, rank, sizes, dim_order);
    layout!(
        c,
        abi::Report,
        "tandem_report",
        isa,
        num_inputs,
        num_outputs,
        num_steps,
        arena_bytes,
        live_bytes,
        scratch_bytes,
        weight_bytes,
        verify_ns,
        plan_ns,
        num_values,
        num_symbols,
        basis
    );
    layout!(c, abi::Symbol, "tandem_symbol", name, value);
    layout!(c, abi::Value, "tandem_value", name, shape, layout, copy, decided, bytes);
    layout!(
        c,
        abi::Step,
        "tandem_step",
        name,
        op,
        category,
        shape,
        kernel,
        engine,
        layout_in,
        layout_out,
        reason,
        flops,
        bytes,
        predicted_ns,
        debug_handles,
        num_debug_handles,
        num_parts
    );
    layout!(c, abi::Part, "tandem_part", name, engine, category, start_ns, ns, share);
    layout!(
        c,
        abi::Seen,
        "tandem_seen",
        core_predicted_ns,
        unit_predicted_ns,
        core_ns,
        unit_ns,
        unit_share,
        core_tiles,
        unit_tiles
    );
    let constants = [
        ("TANDEM_OK", Status::Ok as i64),
        ("TANDEM_INVALID_ARGUMENT", Status::InvalidArgument as i64),
        ("TANDEM_INCOMPATIBLE_BLOB", Status::IncompatibleBlob as i64),
        ("TANDEM_INVALID_PROGRAM", Status::InvalidProgram as i64),
        ("TANDEM_NOT_SUPPORTED", Status::NotSupported as i64),
        ("TANDEM_MISSING_CONSTANT", Status::MissingConstant as i64),
        ("TANDEM_BUSY", Status::Busy as i64),
        ("TANDEM_INTERNAL", Status::Internal as i64),
        ("TANDEM_CANCELLED", Status::Cancelled as i64),
        ("TANDEM_ABI_VERSION", i64::from(abi::ABI_VERSION)),
        ("TANDEM_MAX_RANK", MAX_RANK as i64),
        ("sizeof(tandem_status)", size_of::<Status>() as i64),
        ("TANDEM_BOOL", i64::from(DType::Bool.0)),
    ];
    for (name, value) in constants {
        writeln!(c, "_Static_assert({name} == {value}, \"{name}\");").unwrap();
    }
    for dtype in DType::ENUM_VALUES {
        let name = format!("TANDEM_{}", dtype.variant_name().unwrap().to_uppercase());
        writeln!(c, "_Static_assert({name} == {}, \"{name}\");", dtype.0).unwrap();
    }
    c
}

/// Whether the C compiler takes a source.
fn compiles(source: &str, name: &str) -> Result<(), String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    fs::write(&path, source).unwrap();
    let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".to_owned());
    let include = Path::new(env!("CARGO_MANIFEST_DIR")).join("include");
    let mut command = Command::new(compiler);
    if name.ends_with(".c") {
        command.arg("-std=c11");
    }
    let output = command
        .args(["-Wall", "-Wextra", "-Werror", "-pedantic", "-fsyntax-only", "-I"])
        .args([&include, &path])
        .output()
        .expect("a C compiler");
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}

#[test]
fn layouts_and_constants_agree() {
    compiles(&assertions(), "agree.c").unwrap();
}

#[test]
fn a_difference_would_be_seen() {
    let wrong = assertions().replacen("sizeof(tandem_tensor) ==", "1 + sizeof(tandem_tensor) ==", 1);
    assert!(compiles(&wrong, "differ.c").unwrap_err().contains("tandem_tensor size"));
}

#[test]
fn header_is_cpp_too() {
    let source = "#include \"tandem.h\"\nint main() { return tandem_abi_version() == TANDEM_ABI_VERSION; }\n";
    compiles(source, "plain.cpp").unwrap();
}

#[test]
fn every_function_is_declared_and_defined() {
    let names = |text: &str, before: &str| {
        let mut found: Vec<String> = text
            .split(before)
            .skip(1)
            .filter_map(|rest| rest.split_once('(').map(|(name, _)| format!("tandem_{name}")))
            .filter(|name| name.chars().all(|c| c.is_ascii_lowercase() || c == '_'))
            .collect();
        found.sort();
        found.dedup();
        found
    };
    let declared: String = header()
        .lines()
        .filter(|line| line.starts_with("TANDEM_API "))
        .map(|line| {
            line.replace('*', " ")
                + "
"
        })
        .collect();
    let lib = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs")).unwrap();
    let defined = names(&lib, "extern \"C\" fn tandem_");
    assert_eq!(names(&declared, " tandem_"), defined);
    assert!(defined.len() >= 10);
}
