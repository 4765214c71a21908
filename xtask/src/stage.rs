//! Running programs: quietly behind a spinner, or as a named stage whose minutes are reported.

use std::ffi::OsStr;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Why a command of this crate ended early.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A program could not be started.
    #[error("cannot start {program}: {source}")]
    Start {
        /// the program
        program: String,
        /// the system's answer
        source: std::io::Error,
    },
    /// A program failed.
    #[error("{what} failed ({status})\n{output}")]
    Failed {
        /// what was being done
        what: String,
        /// exit status
        status: ExitStatus,
        /// its last lines, where they were captured
        output: String,
    },
    /// A file could not be read or written.
    #[error("cannot {verb} {}: {source}", path.display())]
    File {
        /// "read" or "write"
        verb: &'static str,
        /// the file
        path: PathBuf,
        /// the system's answer
        source: std::io::Error,
    },
    /// The machine lacks something.
    #[error("{0}")]
    Setup(String),
    /// Something checked is not as it must be.
    #[error("{0}")]
    Check(String),
}

impl Error {
    /// For `map_err` on reading a file.
    pub fn reading(path: &Path) -> impl FnOnce(std::io::Error) -> Error + use<> {
        let path = path.to_owned();
        move |source| Error::File { verb: "read", path, source }
    }
    /// For `map_err` on writing a file.
    pub fn writing(path: &Path) -> impl FnOnce(std::io::Error) -> Error + use<> {
        let path = path.to_owned();
        move |source| Error::File { verb: "write", path, source }
    }
}

/// Runs a program behind a spinner; its output is shown only if it fails.
pub fn quiet(what: &str, command: &mut Command) -> Result<String, Error> {
    let spinner = spinner(what);
    let start = Instant::now();
    let output = command.stdin(Stdio::null()).output().map_err(|source| start_error(command, source))?;
    spinner.finish_and_clear();
    let [text, errors] =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    finished(what, start, output.status, text, &errors)
}

/// Output of a program that has ended well, else its last lines as an error.
fn finished(
    what: &str,
    start: Instant,
    status: ExitStatus,
    output: String,
    errors: &str,
) -> Result<String, Error> {
    if !status.success() {
        let text = format!("{output}{errors}");
        let lines: Vec<&str> = text.lines().collect();
        let output = lines[lines.len().saturating_sub(60)..].join("\n");
        return Err(Error::Failed { what: what.to_owned(), status, output });
    }
    if start.elapsed() > Duration::from_secs(2) {
        println!("  {what}: {:.1} s", start.elapsed().as_secs_f64());
    }
    Ok(output)
}

/// As [`quiet`], for what depends on the network: three attempts.
pub fn download(what: &str, command: &mut Command) -> Result<String, Error> {
    for pause in [2, 10] {
        match quiet(what, command) {
            Err(Error::Failed { .. }) => std::thread::sleep(Duration::from_secs(pause)),
            result => return result,
        }
    }
    quiet(what, command)
}

/// As [`quiet`], for what may never end: it is killed at the limit.
pub fn limited(what: &str, command: &mut Command, limit: Duration) -> Result<String, Error> {
    let start = Instant::now();
    let spinner = spinner(what);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|source| start_error(command, source))?;
    // Pipes are emptied while the child runs: a full one would stop it.
    let readers = [drain(child.stdout.take()), drain(child.stderr.take())];
    let status = loop {
        match child.try_wait().map_err(|source| start_error(command, source))? {
            Some(status) => break Some(status),
            None if start.elapsed() > limit => break None,
            None => std::thread::sleep(Duration::from_millis(20)),
        }
    };
    if status.is_none() {
        let _ = child.kill();
        let _ = child.wait();
    }
    let [output, errors] = readers.map(|reader| reader.join().unwrap_or_default());
    spinner.finish_and_clear();
    match status {
        Some(status) => finished(what, start, status, output, &errors),
        None => Err(Error::Check(format!("{what}: not done after {} s\n{output}{errors}", limit.as_secs()))),
    }
}

fn drain(pipe: Option<impl Read + Send + 'static>) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = pipe.map(|mut pipe| pipe.read_to_end(&mut bytes));
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// Runs a program that writes to this terminal.
pub fn loud(what: &str, command: &mut Command) -> Result<(), Error> {
    let status = command.stdin(Stdio::null()).status().map_err(|source| start_error(command, source))?;
    if status.success() {
        return Ok(());
    }
    Err(Error::Failed { what: what.to_owned(), status, output: String::new() })
}

fn start_error(command: &Command, source: std::io::Error) -> Error {
    Error::Start { program: command.get_program().to_string_lossy().into_owned(), source }
}

fn spinner(what: &str) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template("  {spinner} {msg} {elapsed}").expect("a valid template");
    bar.set_style(style);
    bar.set_message(what.to_owned());
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}

/// Named stages in a row, each with its minutes.
#[derive(Default)]
pub struct Stages {
    done: Vec<(String, Duration)>,
}

impl Stages {
    /// Runs one stage; its failure ends the run.
    pub fn run<T>(&mut self, name: &str, work: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
        println!("== {name}");
        let start = Instant::now();
        let result = work();
        self.done.push((name.to_owned(), start.elapsed()));
        // A run that is killed has told where its time went.
        println!("-- {name}: {:.2} of {:.2} min", minutes(start.elapsed()), minutes(self.total()));
        if result.is_err() {
            self.report();
        }
        result
    }

    fn total(&self) -> Duration {
        self.done.iter().map(|(_, took)| *took).sum()
    }

    /// Prints minutes per stage.
    pub fn report(&self) {
        println!("\n{:<44} {:>8}", "stage", "minutes");
        for (name, took) in &self.done {
            println!("{name:<44} {:>8.2}", minutes(*took));
        }
        println!("{:<44} {:>8.2}", "total", minutes(self.total()));
    }
}

fn minutes(time: Duration) -> f64 {
    time.as_secs_f64() / 60.0
}

/// `cargo` with arguments, in the checkout.
pub fn cargo<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(args: I) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(crate::env::root()).args(args);
    command
}
