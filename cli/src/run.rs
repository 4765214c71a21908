//! `tandem run`

use std::fs;
use std::path::PathBuf;

use crate::Error;
use crate::bridge::ffi::TensorMeta;
use crate::model::{self, Layout, Model};
use crate::stats::{Progress, median, ms};
use crate::tensor::{Element, Tensor};

/// How to run.
#[derive(clap::Args)]
pub struct Options {
    /// The .pte file.
    file: PathBuf,
    /// An input each: a .npy file, a file of raw elements in logical order, a seed, or a seed with the sizes of an input of
    /// symbolic sizes, as 7:2x3x64x64. Default: seeds 1, 2, ..., as large as inputs can be.
    #[arg(long)]
    input: Vec<String>,
    /// Threads of an execution.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// How Tandem decides where values lie.
    #[arg(long)]
    layout: Option<Layout>,
    /// Executions.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    repeat: u32,
    /// Folder the outputs are written to, as output0.npy, ...
    #[arg(long)]
    output: Option<PathBuf>,
}

/// Runs the command.
pub fn run(options: &Options) -> Result<(), Error> {
    model::set_threads(options.threads)?;
    let mut model = Model::load(&options.file, false, options.layout)?;
    let metas = model.inputs();
    if options.input.len() > metas.len() {
        let message = format!("{} inputs given, the method takes {}", options.input.len(), metas.len());
        return Err(Error::Input(message));
    }
    let inputs: Result<Vec<Tensor>, Error> =
        metas.iter().enumerate().map(|(i, meta)| input(options.input.get(i), i, meta)).collect();
    let inputs = inputs?;
    model.set_inputs(&inputs)?;
    for (i, tensor) in inputs.iter().enumerate() {
        println!("input {i}: {}", tensor.describe());
    }
    let progress = Progress::new("running", options.repeat as usize);
    let mut walls = Vec::new();
    let mut first: Vec<Tensor> = Vec::new();
    for i in 0..options.repeat {
        walls.push(ms(model.execute()?.wall));
        let outputs = model.outputs()?;
        if i == 0 {
            first = outputs;
        } else if outputs != first {
            return Err(Error::Check(format!("execution {} gave other bits than the first", i + 1)));
        }
        progress.step();
    }
    drop(progress);
    for (i, tensor) in first.iter().enumerate() {
        println!("output {i}: {} checksum {:016x}", tensor.describe(), tensor.checksum());
    }
    println!("{:.3} ms (median of {}, first {:.3})", median(&walls), walls.len(), walls[0]);
    if let Some(folder) = &options.output {
        fs::create_dir_all(folder).map_err(Error::file(folder))?;
        for (i, tensor) in first.iter().enumerate() {
            println!("{}", tensor.write(&folder.join(format!("output{i}")))?.display());
        }
    }
    Ok(())
}

fn input(given: Option<&String>, index: usize, meta: &TensorMeta) -> Result<Tensor, Error> {
    let element = Element::of(meta.scalar_type)?;
    let default = (index as u64 + 1).to_string();
    let given = given.unwrap_or(&default);
    let (seed, sizes) = match given.split_once(':') {
        Some((seed, sizes)) => {
            (seed, sizes.split('x').map(str::parse).collect::<Result<Vec<usize>, _>>().ok())
        }
        None => (given.as_str(), Some(meta.sizes.clone())),
    };
    match (seed.parse(), sizes) {
        (Ok(seed), Some(sizes)) => Ok(Tensor::seeded(element, &sizes, seed)),
        _ => Tensor::read(given.as_ref(), element, &meta.sizes),
    }
}
