//! `tandem info`

use tandem_base::{Isa, sme};
use tandem_engine::device;

use crate::Error;
use crate::machine::Machine;
use crate::profile::table;

/// Name, needs and whether this CPU has them.
struct RowInfo {
    family: &'static str,
    kernel: &'static str,
    needs: Isa,
}

macro_rules! families {
    ($($family:ident),+) => {{
        let mut all = Vec::new();
        $(for row in tandem_kernels::$family::KERNELS {
            all.push(RowInfo { family: stringify!($family), kernel: row.name, needs: row.isa });
        })+
        all
    }};
}

/// Prints CPU features, SME units, peak and every kernel row.
pub fn run() -> Result<(), Error> {
    let machine = Machine::measure();
    println!("tandem {}", env!("CARGO_PKG_VERSION"));
    println!("cpu: {} ({} cores)", machine.cpu, machine.cores);
    println!("instruction sets: {}", machine.isa);
    println!("SME units: {}", sme_units());
    println!("multiply-add peak of one thread: {:.1} GFLOP/s", machine.peak_gflops);
    let found = device::find(std::env::var("TANDEM_DEVICE").ok().as_deref().filter(|name| !name.is_empty()));
    let found = found.map_err(|error| Error::Input(error.to_string()))?;
    println!("device profile: {} ({})", found.device.name, found.because);
    let isa = Isa::detect();
    let rows = families!(
        attention,
        chain,
        conv,
        deconv,
        depthwise,
        elementwise,
        gemm,
        moves,
        norm,
        pool,
        reduce,
        resize,
        softmax
    );
    let mut out = table::table(&["family", "kernel", "needs", "enabled"], &[]);
    for row in rows {
        let enabled = if isa.has(row.needs) { "yes" } else { "no" };
        out.add_row([row.family, row.kernel, &row.needs.to_string(), enabled]);
    }
    println!("{out}");
    Ok(())
}

/// What the machine has to run SME on, and where that is known from.
fn sme_units() -> String {
    if !Isa::detect().has(Isa::SME) {
        return "none: the system reports no SME".to_owned();
    }
    let units = sme::Units::detect();
    match sme::svl_bytes() {
        Some(bytes) => format!("{units}, vectors of {bytes} bytes"),
        None => format!("{units}, vectors of unknown length"),
    }
}
