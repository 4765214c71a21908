//! `tandem characterize`

use std::fs;
use std::path::PathBuf;

use tandem_engine::device::{self, Device};

use crate::Error;
use crate::profile::table;
use crate::stats::Progress;

/// What to measure and where to write it.
#[derive(clap::Args)]
pub struct Options {
    /// Threads that share the machine's memory; default: all cores this process may use.
    #[arg(long)]
    threads: Option<usize>,
    /// File of the profile; default: where every later load of this user finds it.
    #[arg(long)]
    output: Option<PathBuf>,
}

/// Steps of the progress bar.
const STEPS: usize = 100;

/// Measures, prints and writes.
pub fn run(options: &Options) -> Result<(), Error> {
    let no_cache =
        || Error::Input("neither XDG_CACHE_HOME nor HOME is set: name a file with --output".into());
    let path = options.output.clone().or_else(device::cached).ok_or_else(no_cache)?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = options.threads.unwrap_or(cores).max(1);
    let progress = Progress::new("measuring", STEPS);
    let mut done = 0;
    let device = device::characterize(threads, device::Effort::default(), &mut |_, share| {
        while done < (share * STEPS as f64) as usize {
            progress.step();
            done += 1;
        }
    });
    drop(progress);
    print(&device);
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    folder.map_or(Ok(()), fs::create_dir_all).map_err(Error::file(&path))?;
    fs::write(&path, device.text()).map_err(Error::file(&path))?;
    println!("{}", path.display());
    Ok(())
}

/// Every figure with its spread and where it comes from.
pub fn print(device: &Device) {
    println!("{}: {}", device.name, device.about);
    let mut out = table::table(&["figure", "value", "spread", "known", "source"], &[1, 2]);
    for (name, figure) in device.figures() {
        let spread = figure.spread.map_or_else(String::new, |spread| format!("{:.1} %", 100.0 * spread));
        let digits = if figure.value < 1000.0 { 1 } else { 0 };
        let value = format!("{:.digits$}", figure.value);
        out.add_row([name, value, spread, figure.confidence.to_string(), figure.source.clone()]);
    }
    println!("{out}");
}
