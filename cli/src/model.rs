//! A loaded `.pte` file.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::Error;
use crate::bridge::ffi::{self, Event, LoadTimes, TensorMeta};
use crate::tensor::{Element, Tensor};

/// A method of a mapped file, with inputs set.
pub struct Model {
    host: cxx::UniquePtr<ffi::Host>,
    path: PathBuf,
}

/// How Tandem decides where values lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    /// A rule, and copies where an op on its own gains by one.
    Greedy,
    /// Least time of the whole program.
    State,
}

/// Load options of Tandem; what is not among them is left to the environment.
#[derive(Clone, Debug, Default)]
pub struct Settings(Vec<ffi::Setting>);

impl Settings {
    /// With one more.
    pub fn with(mut self, key: &str, value: impl Into<String>) -> Self {
        self.0.push(ffi::Setting { key: key.to_owned(), value: value.into() });
        self
    }

    /// With a layout, if one is given.
    pub fn layout(self, layout: Option<Layout>) -> Self {
        match layout {
            None => self,
            Some(Layout::Greedy) => self.with("layout", "greedy"),
            Some(Layout::State) => self.with("layout", "state"),
        }
    }
}

impl From<Option<Layout>> for Settings {
    fn from(layout: Option<Layout>) -> Self {
        Self::default().layout(layout)
    }
}

/// What an execution took.
#[derive(Clone, Copy, Debug)]
pub struct Spent {
    /// On the clock.
    pub wall: Duration,
    /// On all threads of this process.
    pub cpu: Duration,
}

impl Model {
    /// Maps and loads a file's "forward" method; `trace` keeps events.
    pub fn load(path: &Path, trace: bool, settings: impl Into<Settings>) -> Result<Self, Error> {
        let name = path.to_str().ok_or_else(|| Error::Input(format!("{} is not UTF-8", path.display())))?;
        if !path.exists() {
            return Err(Error::Input(format!("there is no file {name}")));
        }
        Ok(Self { host: ffi::load(name, "", trace, &settings.into().0)?, path: path.to_owned() })
    }

    /// Its file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What loading took.
    pub fn load_times(&self) -> LoadTimes {
        self.host.load_times()
    }

    /// Types and shapes of the inputs.
    pub fn inputs(&self) -> Vec<TensorMeta> {
        self.host.inputs()
    }

    /// Seeded inputs of the shapes the method wants.
    pub fn seeded_inputs(&self, seed: u64) -> Result<Vec<Tensor>, Error> {
        let metas = self.inputs();
        let seeded = metas.iter().enumerate().map(|(i, meta)| {
            Ok(Tensor::seeded(Element::of(meta.scalar_type)?, &meta.sizes, seed.wrapping_add(i as u64)))
        });
        seeded.collect()
    }

    /// Sets all inputs. Where sizes are symbolic, they may differ from what [`Model::inputs`] says: the largest they can be,
    /// or those last set.
    pub fn set_inputs(&mut self, tensors: &[Tensor]) -> Result<(), Error> {
        let metas = self.inputs();
        let file = self.path.display().to_string();
        if metas.len() != tensors.len() {
            return Err(Error::Input(format!("{file}: {} inputs, not {}", metas.len(), tensors.len())));
        }
        for (index, (meta, tensor)) in metas.iter().zip(tensors).enumerate() {
            let element = Element::of(meta.scalar_type)?;
            if element != tensor.element || meta.sizes.len() != tensor.sizes.len() {
                let message = format!(
                    "{file}: input {index} is {} {:?}, not {}",
                    element.name(),
                    meta.sizes,
                    tensor.describe()
                );
                return Err(Error::Input(message));
            }
            let bytes = tensor.to_dim_order(&meta.dim_order)?;
            self.host.pin_mut().set_input(index, &bytes, &tensor.sizes)?;
        }
        Ok(())
    }

    /// Runs the method once.
    pub fn execute(&mut self) -> Result<Spent, Error> {
        let cpu = ffi::cpu_time_ns();
        let start = Instant::now();
        self.host.pin_mut().execute()?;
        let wall = start.elapsed();
        Ok(Spent { wall, cpu: Duration::from_nanos(ffi::cpu_time_ns().saturating_sub(cpu)) })
    }

    /// Outputs of the last execution.
    pub fn outputs(&self) -> Result<Vec<Tensor>, Error> {
        let metas = self.host.outputs();
        metas.iter().enumerate().map(|(i, meta)| Tensor::from_dim_order(meta, &self.host.output(i))).collect()
    }

    /// Whether following executions keep the shapes operators write, for [`Model::take_events`].
    pub fn keep_shapes(&mut self, keep: bool) {
        self.host.pin_mut().keep_shapes(keep);
    }

    /// Events since the last call, in the order they began.
    pub fn take_events(&mut self) -> Vec<Event> {
        self.host.pin_mut().take_events()
    }
}

/// Waits until this process uses no CPU: worker threads of a program that just ran may go on spinning for some tens of
/// milliseconds, on a core the next program wants.
pub fn settle() {
    const STEP: Duration = Duration::from_millis(1);
    for _ in 0..100 {
        let before = ffi::cpu_time_ns();
        std::thread::sleep(STEP);
        if ffi::cpu_time_ns().saturating_sub(before) < 200_000 {
            return;
        }
    }
}

/// Sets ExecuTorch's thread pool, which every backend here follows.
pub fn set_threads(threads: usize) -> Result<(), Error> {
    let threads = u32::try_from(threads.max(1)).map_err(|_| Error::Input(format!("{threads} threads")))?;
    Ok(ffi::set_threads(threads)?)
}
