//! Medians, memory of this process, progress.

use std::fs;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Median; 0 of nothing.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => 0.0,
        n if n % 2 == 1 => sorted[n / 2],
        n => (sorted[n / 2 - 1] + sorted[n / 2]) / 2.0,
    }
}

/// Milliseconds.
pub fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// Peak resident size of this process in bytes; 0 where the system does not say.
pub fn peak_resident_bytes() -> u64 {
    fs::read_to_string("/proc/self/status").ok().and_then(|status| field_kib(&status, "VmHWM:")).unwrap_or(0)
        * 1024
}

fn field_kib(status: &str, field: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Sets the peak back to what is resident now, where the system allows.
pub fn reset_peak() {
    let _ = fs::write("/proc/self/clear_refs", "5");
}

/// A bar that appears when a job has taken two seconds.
pub struct Progress {
    bar: ProgressBar,
    start: Instant,
}

impl Progress {
    /// A job of `steps` steps.
    pub fn new(what: &str, steps: usize) -> Self {
        let bar = ProgressBar::with_draw_target(Some(steps as u64), ProgressDrawTarget::hidden());
        let style = ProgressStyle::with_template("  {msg} {wide_bar} {pos}/{len} {eta}");
        bar.set_style(style.expect("a valid template"));
        bar.set_message(what.to_owned());
        Self { bar, start: Instant::now() }
    }

    /// A step is done.
    pub fn step(&self) {
        if self.bar.is_hidden() && self.start.elapsed() > Duration::from_secs(2) {
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
        }
        self.bar.inc(1);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        assert_eq!(median(&[]), 0.0);
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
    }

    #[test]
    fn peak_is_read_and_grows() {
        assert_eq!(field_kib("VmPeak:\t 9 kB\nVmHWM:\t  123 kB\n", "VmHWM:"), Some(123));
        assert_eq!(field_kib("nothing", "VmHWM:"), None);
        let before = peak_resident_bytes();
        let block = std::hint::black_box(vec![1u8; 64 << 20]);
        assert!(peak_resident_bytes() >= before + (block.len() as u64) / 2);
    }
}
